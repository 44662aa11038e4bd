// The bytes of ONNX tensors that lie in other files.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "weights/mapped_file.h"
#include "weights/onnx_tensor.h"

namespace retrace::weights {

// Gives every external tensor its bytes. Only regular files beneath the folder of `file` are read: a location that is
// absolute, has a "..", or leads out of the folder by a symbolic link is an error, and so is a range that is not the
// tensor's or not in the file, and a file much larger than what is used of it (unfolding_budget of that).
void read_onnx_external(const std::shared_ptr<const MappedFile>& file, std::vector<OnnxTensor>& tensors);

}  // namespace retrace::weights
