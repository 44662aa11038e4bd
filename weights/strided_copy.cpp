#include "weights/strided_copy.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace retrace::weights {

void copy_strided(const std::byte* first, std::size_t unit, std::span<const std::int64_t> shape,
                  std::span<const std::int64_t> strides, bool swap, std::byte* out) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= std::size_t(size);
  std::vector<std::int64_t> index(shape.size(), 0);
  std::int64_t at = 0;  // in elements, kept in step with `index`
  for (std::size_t n = 0; n < count; ++n, out += unit) {
    const std::byte* from = first + std::size_t(at) * unit;
    if (swap) {
      std::reverse_copy(from, from + unit, out);
    } else {
      std::memcpy(out, from, unit);
    }
    for (std::size_t d = shape.size(); d-- > 0;) {
      at += strides[d];
      if (++index[d] < shape[d]) break;
      at -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace retrace::weights
