#include "weights/layout.h"

#include <fmt/format.h>

#include <array>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

// [k, rows, columns] → [k, columns, rows]: with R·S as one axis, both directions are this.
std::vector<float> transpose_inner(std::span<const float> values, std::size_t k, std::size_t rows,
                                   std::size_t columns) {
  std::vector<float> out(values.size());
  for (std::size_t n = 0; n < k; ++n) {
    const float* from = values.data() + n * rows * columns;
    float* to = out.data() + n * rows * columns;
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
    }
  }
  return out;
}

void check(std::span<const float> values, const std::array<std::int64_t, 4>& kcrs) {
  const auto count = element_count(kcrs);
  if (!count || std::uint64_t(*count) != values.size()) {
    throw Error(fmt::format("convolution weights: {} values, but K, C, R, S = {} ask for {}", values.size(),
                            shape_text(kcrs), count ? std::to_string(*count) : "an impossible number"));
  }
}

}  // namespace

std::vector<float> kcrs_to_krsc(std::span<const float> values, std::int64_t k, std::int64_t c, std::int64_t r,
                                std::int64_t s) {
  check(values, {k, c, r, s});
  if (values.empty()) return {};
  return transpose_inner(values, std::size_t(k), std::size_t(c), std::size_t(r * s));
}

std::vector<float> krsc_to_kcrs(std::span<const float> values, std::int64_t k, std::int64_t c, std::int64_t r,
                                std::int64_t s) {
  check(values, {k, c, r, s});
  if (values.empty()) return {};
  return transpose_inner(values, std::size_t(k), std::size_t(r * s), std::size_t(c));
}

}  // namespace retrace::weights
