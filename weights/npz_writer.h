// Writing NumPy archives.
#pragma once
#include <filesystem>
#include <optional>
#include <span>

#include "weights/tensor_to_write.h"

namespace retrace::weights {

// Writes `tensors` as one .npz archive at `path`, as numpy.savez does: for each, in the given order, a stored record
// NAME.npy. With `float_type` (f32 or f16) floating tensors are converted to it, see convert(). An archive holds no
// metadata. `path` holds the old file or the new one, on the disk, never a part (see atomic_file.h).
// Throws Error, naming the file or tensor, if a name is empty, double, too long, not UTF-8 or holds a zero byte, if a
// tensor is to stay bf16 or an 8-bit float, which NumPy does not have, if a value does not fit, or if the file cannot
// be written.
void write_npz(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
               std::optional<DType> float_type = std::nullopt);
void write_npz(const std::filesystem::path& path, std::span<const HostTensor> tensors,
               std::optional<DType> float_type = std::nullopt);

}  // namespace retrace::weights
