// From a pickled object to a Checkpoint: the part that both PyTorch containers share.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "weights/checkpoint.h"
#include "weights/mapped_file.h"
#include "weights/pickle.h"
#include "weights/state_dict.h"

namespace retrace::weights {

// The bytes of a whole storage, in the file. Throws Error if the file does not hold them.
using FindStorage = std::function<std::span<const std::byte>(const PickleStorage&)>;

// Adds the weights that were chosen from the pickled object to `checkpoint`, whose path is set. A contiguous tensor points into the file; others are gathered, and so is every one if
// `big_endian`. Throws Error, naming the tensor, if shape, strides, offset and storage do not go together, or
// if the tensors would take more than 16 times the file's size (but 48 MiB are always fine) or more than 64
// GiB.
void add_torch_tensors(Checkpoint& checkpoint, const Pickle& pickle, StateDict weights,
                       const std::shared_ptr<const MappedFile>& file, const FindStorage& find_storage,
                       bool big_endian);

}  // namespace retrace::weights
