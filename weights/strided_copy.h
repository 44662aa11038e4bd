// Gathering a tensor that does not lie row by row in its file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace retrace::weights {

// Copies the elements of `unit` bytes that shape and strides (in elements, from `first`) describe to `out`, row-major;
// with `swap`, the bytes of each in reverse order. The caller has checked that all lie in memory; no size is 0.
void copy_strided(const std::byte* first, std::size_t unit, std::span<const std::int64_t> shape,
                  std::span<const std::int64_t> strides, bool swap, std::byte* out);

}  // namespace retrace::weights
