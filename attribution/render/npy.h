// NumPy's .npy files, format version 1.0 (numpy.lib.format): float32, little-endian, C order.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace retrace::render {

struct NpyArray {
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::vector<float> values;        // C order
};

// Writes `values` as an array of `shape`, whole or not at all (see weights/atomic_file.h). Throws Error if the shape
// does not hold as many values or the file cannot be written.
void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> shape,
               std::span<const float> values);

// Reads what write_npy writes: version 1.0 (and 2.0, 3.0, which differ in the header's length field), '<f4',
// C order. Throws Error naming the file and what was found otherwise.
NpyArray read_npy(const std::filesystem::path& path);

}  // namespace retrace::render
