// Convolution in float64, written as the definition reads. What every convolution kernel is measured against.
#pragma once
#include <cstddef>
#include <vector>

#include "kernels/conv/conv.h"

namespace retrace::reference {

// Calls visit(x index, w index, y index) once for every product x · w that the definition adds to a y:
//
//   y[n, p, q, k] = Σ_{r, s, c} x[n, p·stride − pad + r·dilation, q·stride − pad + s·dilation, g·C + c] w[k,
//   r, s, c]
//
// with C = c / groups and g the group of k; taps in the padding add nothing and are left out. x is NHWC, w is
// KRSC, y is NPQK.
template <class Visit>
void for_each_product(const kernels::Conv2dShape& d, Visit visit) {
  const int P = d.p(), Q = d.q(), C = d.c / d.groups, K = d.k / d.groups;
  const auto at = [](int i, int j, int k, int l, int J, int K, int L) {
    return ((std::size_t(i) * std::size_t(J) + std::size_t(j)) * std::size_t(K) + std::size_t(k)) *
               std::size_t(L) +
           std::size_t(l);
  };
  for (int n = 0; n < d.n; ++n) {
    for (int p = 0; p < P; ++p) {
      for (int q = 0; q < Q; ++q) {
        for (int k = 0; k < d.k; ++k) {
          const std::size_t y = at(n, p, q, k, P, Q, d.k);
          for (int r = 0; r < d.r; ++r) {
            const int h = p * d.stride_h - d.pad_h + r * d.dilation_h;
            if (h < 0 || h >= d.h) continue;
            for (int s = 0; s < d.s; ++s) {
              const int w = q * d.stride_w - d.pad_w + s * d.dilation_w;
              if (w < 0 || w >= d.w) continue;
              for (int c = 0; c < C; ++c) {
                visit(at(n, h, w, k / K * C + c, d.h, d.w, d.c), at(k, r, s, c, d.r, d.s, C), y);
              }
            }
          }
        }
      }
    }
  }
}

// y = conv(x, w). x [n, h, w, c], w [k, r, s, c / groups] → y [n, p, q, k].
template <class T, class U>
std::vector<double> conv2d_fprop(const kernels::Conv2dShape& d, const std::vector<T>& x,
                                 const std::vector<U>& w) {
  std::vector<double> y(std::size_t(d.output_size()));
  for_each_product(d,
                   [&](std::size_t i, std::size_t j, std::size_t o) { y[o] += double(x[i]) * double(w[j]); });
  return y;
}

// dx = convᵀ(dy, w): the gradient of <conv(x, w), dy> for x. dy [n, p, q, k] → dx [n, h, w, c].
template <class T, class U>
std::vector<double> conv2d_dgrad(const kernels::Conv2dShape& d, const std::vector<T>& dy,
                                 const std::vector<U>& w) {
  std::vector<double> dx(std::size_t(d.input_size()));
  for_each_product(
      d, [&](std::size_t i, std::size_t j, std::size_t o) { dx[i] += double(dy[o]) * double(w[j]); });
  return dx;
}

// dw: the gradient of <conv(x, w), dy> for w. x [n, h, w, c], dy [n, p, q, k] → dw [k, r, s, c / groups].
template <class T, class U>
std::vector<double> conv2d_wgrad(const kernels::Conv2dShape& d, const std::vector<T>& x,
                                 const std::vector<U>& dy) {
  std::vector<double> dw(std::size_t(d.weight_size()));
  for_each_product(
      d, [&](std::size_t i, std::size_t j, std::size_t o) { dw[j] += double(x[i]) * double(dy[o]); });
  return dw;
}

}  // namespace retrace::reference
