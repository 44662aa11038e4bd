// Softmax and its gradient in float64.
#pragma once
#include <algorithm>
#include <cmath>

#include "tests/reference/signal.h"

namespace retrace::reference {

inline Values softmax(std::size_t columns, bool log, const std::vector<float>& x) {
  Values y(x.begin(), x.end());
  for (std::size_t row = 0; row < y.size(); row += columns) {
    const double largest =
        *std::max_element(x.begin() + std::ptrdiff_t(row), x.begin() + std::ptrdiff_t(row + columns));
    double sum = 0;
    for (std::size_t i = row; i < row + columns; ++i) sum += std::exp(y[i] - largest);
    for (std::size_t i = row; i < row + columns; ++i) {
      y[i] = log ? y[i] - largest - std::log(sum) : std::exp(y[i] - largest) / sum;
    }
  }
  return y;
}

// From the Jacobian, entry by entry: ∂y_j/∂x_i = y_j (δ_ij − y_i), or δ_ij − exp(y_i) for the logarithm.
inline Values softmax_backward(std::size_t columns, bool log, const std::vector<float>& y,
                               const std::vector<float>& dy) {
  Values dx(y.size(), 0);
  for (std::size_t row = 0; row < y.size(); row += columns) {
    for (std::size_t i = row; i < row + columns; ++i) {
      for (std::size_t j = row; j < row + columns; ++j) {
        const double same = i == j ? 1 : 0;
        dx[i] += dy[j] * (log ? same - std::exp(double(y[i])) : double(y[j]) * (same - double(y[i])));
      }
    }
  }
  return dx;
}

}  // namespace retrace::reference
