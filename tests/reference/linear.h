// Fully connected layers in float64, straight from the definition.
#pragma once
#include "tests/reference/signal.h"

namespace retrace::reference {

// alpha · part(x) wᵀ + bias + residual; x [n, c], w [k, c]; empty bias and residual are left out.
inline Values linear(int n, int c, int k, const std::vector<float>& x, kernels::Part which,
                     const std::vector<float>& w, double alpha, const std::vector<float>& bias,
                     const std::vector<float>& residual) {
  Values y(std::size_t(n) * std::size_t(k));
  for (int i = 0; i < n; ++i) {
    for (int o = 0; o < k; ++o) {
      double sum = 0;
      for (int j = 0; j < c; ++j) {
        sum += part(which, x[std::size_t(i) * std::size_t(c) + std::size_t(j)]) *
               w[std::size_t(o) * std::size_t(c) + std::size_t(j)];
      }
      const std::size_t at = std::size_t(i) * std::size_t(k) + std::size_t(o);
      y[at] = alpha * sum;
      if (!bias.empty()) y[at] += bias[std::size_t(o)];
      if (!residual.empty()) y[at] += residual[at];
    }
  }
  return y;
}

// alpha · part(multiply) ⊙ (s w); s [n, k].
inline Values linear_dgrad(int n, int c, int k, const Values& s, const std::vector<float>& w, double alpha,
                           const std::vector<float>& multiply, kernels::Part which) {
  Values dx(std::size_t(n) * std::size_t(c));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < c; ++j) {
      double sum = 0;
      for (int o = 0; o < k; ++o) {
        sum += s[std::size_t(i) * std::size_t(k) + std::size_t(o)] *
               w[std::size_t(o) * std::size_t(c) + std::size_t(j)];
      }
      const std::size_t at = std::size_t(i) * std::size_t(c) + std::size_t(j);
      dx[at] = alpha * sum * (multiply.empty() ? 1 : part(which, multiply[at]));
    }
  }
  return dx;
}

// dyᵀ x; dy [n, k], x [n, c] → [k, c].
inline Values linear_wgrad(int n, int c, int k, const std::vector<float>& x, const std::vector<float>& dy) {
  Values dw(std::size_t(k) * std::size_t(c));
  for (int i = 0; i < n; ++i) {
    for (int o = 0; o < k; ++o) {
      for (int j = 0; j < c; ++j) {
        dw[std::size_t(o) * std::size_t(c) + std::size_t(j)] +=
            double(dy[std::size_t(i) * std::size_t(k) + std::size_t(o)]) *
            double(x[std::size_t(i) * std::size_t(c) + std::size_t(j)]);
      }
    }
  }
  return dw;
}

// The sum of each column of x [rows, columns].
inline Values column_sums(int rows, int columns, const std::vector<float>& x) {
  Values y(static_cast<std::size_t>(columns));
  for (std::size_t i = 0; i < std::size_t(rows) * y.size(); ++i) y[i % y.size()] += double(x[i]);
  return y;
}

}  // namespace retrace::reference
