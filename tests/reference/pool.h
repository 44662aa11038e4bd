// Pooling in float64: forward as PyTorch defines it, backward by scattering from every window.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ops/ops.h"
#include "tests/reference/signal.h"

namespace retrace::reference {

// Calls visit(index of the output, index of the input, h · W + w, divisor) for every input of every window,
// windows and their inputs in row order. divisors: [0] inputs only, [1] padding counts.
template <class Visit>
void for_each_tap(const kernels::PoolShape& s, bool count_include_pad, Visit visit) {
  for (int n = 0; n < s.n; ++n) {
    for (int p = 0; p < s.p(); ++p) {
      for (int q = 0; q < s.q(); ++q) {
        const int top = p * s.stride_h - s.pad_h, left = q * s.stride_w - s.pad_w;
        int padded = 0, inside = 0;
        for (int r = 0; r < s.r; ++r) {
          for (int t = 0; t < s.s; ++t) {
            const int h = top + r, w = left + t;
            if (h < s.h + s.pad_h && w < s.w + s.pad_w) ++padded;
            if (h >= 0 && h < s.h && w >= 0 && w < s.w) ++inside;
          }
        }
        for (int r = 0; r < s.r; ++r) {
          for (int t = 0; t < s.s; ++t) {
            const int h = top + r, w = left + t;
            if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
            for (int c = 0; c < s.c; ++c) {
              const auto out = ((std::size_t(n) * std::size_t(s.p()) + std::size_t(p)) * std::size_t(s.q()) +
                                std::size_t(q)) *
                                   std::size_t(s.c) +
                               std::size_t(c);
              const auto in =
                  ((std::size_t(n) * std::size_t(s.h) + std::size_t(h)) * std::size_t(s.w) + std::size_t(w)) *
                      std::size_t(s.c) +
                  std::size_t(c);
              visit(out, in, h * s.w + w, count_include_pad ? padded : inside);
            }
          }
        }
      }
    }
  }
}

inline std::size_t input_size(const kernels::PoolShape& s) {
  return std::size_t(s.n) * std::size_t(s.h) * std::size_t(s.w) * std::size_t(s.c);
}
inline std::size_t output_size(const kernels::PoolShape& s) {
  return std::size_t(s.n) * std::size_t(s.p()) * std::size_t(s.q()) * std::size_t(s.c);
}

struct MaxPool {
  Values y;
  std::vector<std::int32_t> argmax;
};
inline MaxPool max_pool(const kernels::PoolShape& s, const std::vector<float>& x) {
  MaxPool out{Values(output_size(s), 0), std::vector<std::int32_t>(output_size(s), -1)};
  for_each_tap(s, true, [&](std::size_t o, std::size_t i, int position, int) {
    if (out.argmax[o] < 0 || x[i] > out.y[o] || std::isnan(x[i])) {
      out.y[o] = x[i];
      out.argmax[o] = position;
    }
  });
  return out;
}
inline Values max_pool_backward(const kernels::PoolShape& s, const std::vector<float>& dy,
                                const std::vector<std::int32_t>& argmax) {
  Values dx(input_size(s), 0);
  for_each_tap(s, true, [&](std::size_t o, std::size_t i, int position, int) {
    if (argmax[o] == position) dx[i] += dy[o];
  });
  return dx;
}
inline Values avg_pool(const kernels::PoolShape& s, bool count_include_pad, const std::vector<float>& x) {
  Values y(output_size(s), 0);
  for_each_tap(s, count_include_pad,
               [&](std::size_t o, std::size_t i, int, int divisor) { y[o] += x[i] / double(divisor); });
  return y;
}
inline Values avg_pool_backward(const kernels::PoolShape& s, bool count_include_pad,
                                const std::vector<float>& dy) {
  Values dx(input_size(s), 0);
  for_each_tap(s, count_include_pad,
               [&](std::size_t o, std::size_t i, int, int divisor) { dx[i] += dy[o] / double(divisor); });
  return dx;
}

}  // namespace retrace::reference
