// PyTorch's AdaptiveAvgPool2d in float64: forward by the formula of its documentation, backward by scattering from every
// window.
#pragma once
#include <cmath>
#include <utility>

#include "tests/reference/signal.h"

namespace retrace::reference {

struct AdaptivePoolShape {
  int n, h, w, c, p, q;
};

// The positions [first, second) of an axis of `size` that window i of `count` covers.
inline std::pair<int, int> adaptive_window(int i, int size, int count) {
  return {int(std::floor(double(i) * size / count)), int(std::ceil(double(i + 1) * size / count))};
}

// Calls visit(index of the output, index of the input, how many the window holds) for every input of every window.
template <class Visit>
void for_each_adaptive_tap(const AdaptivePoolShape& s, Visit visit) {
  const auto at = [&](int n, int row, int column, int c, int rows, int columns) {
    return ((std::size_t(n) * std::size_t(rows) + std::size_t(row)) * std::size_t(columns) +
            std::size_t(column)) *
               std::size_t(s.c) +
           std::size_t(c);
  };
  for (int n = 0; n < s.n; ++n) {
    for (int p = 0; p < s.p; ++p) {
      for (int q = 0; q < s.q; ++q) {
        const auto [top, bottom] = adaptive_window(p, s.h, s.p);
        const auto [left, right] = adaptive_window(q, s.w, s.q);
        for (int h = top; h < bottom; ++h) {
          for (int w = left; w < right; ++w) {
            for (int c = 0; c < s.c; ++c) {
              visit(at(n, p, q, c, s.p, s.q), at(n, h, w, c, s.h, s.w), (bottom - top) * (right - left));
            }
          }
        }
      }
    }
  }
}

inline Values adaptive_avg_pool(const AdaptivePoolShape& s, const std::vector<float>& x) {
  Values y(std::size_t(1LL * s.n * s.p * s.q * s.c), 0);
  for_each_adaptive_tap(s, [&](std::size_t o, std::size_t i, int number) { y[o] += double(x[i]) / number; });
  return y;
}
inline Values adaptive_avg_pool_backward(const AdaptivePoolShape& s, const std::vector<float>& dy) {
  Values dx(std::size_t(1LL * s.n * s.h * s.w * s.c), 0);
  for_each_adaptive_tap(s,
                        [&](std::size_t o, std::size_t i, int number) { dx[i] += double(dy[o]) / number; });
  return dx;
}

}  // namespace retrace::reference
