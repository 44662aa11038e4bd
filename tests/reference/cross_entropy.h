// Cross-entropy of softmax with smoothed targets, and its gradient, in float64.
#pragma once
#include <algorithm>
#include <cmath>

#include "tests/reference/signal.h"

namespace retrace::reference {

// The targets that classes stand for.
inline Values one_hot(std::size_t columns, const std::vector<std::int32_t>& classes) {
  Values targets(classes.size() * columns, 0);
  for (std::size_t row = 0; row < classes.size(); ++row)
    targets[row * columns + std::size_t(classes[row])] = 1;
  return targets;
}

inline double smoothed(double target, double smoothing, std::size_t columns) {
  return (1 - smoothing) * target + smoothing / double(columns);
}

// log Σ exp(x) of the row that begins at `row`.
inline double log_sum_exp(std::size_t columns, const Values& x, std::size_t row) {
  const double largest =
      *std::max_element(x.begin() + std::ptrdiff_t(row), x.begin() + std::ptrdiff_t(row + columns));
  double sum = 0;
  for (std::size_t i = row; i < row + columns; ++i) sum += std::exp(x[i] - largest);
  return largest + std::log(sum);
}

// One loss per row of logits [rows, columns]. A class of target 0 has none, whatever its logit.
inline Values cross_entropy(std::size_t columns, const Values& logits, const Values& targets,
                            double smoothing) {
  Values loss;
  for (std::size_t row = 0; row < logits.size(); row += columns) {
    const double log_sum = log_sum_exp(columns, logits, row);
    double sum = 0;
    for (std::size_t i = row; i < row + columns; ++i) {
      const double q = smoothed(targets[i], smoothing, columns);
      if (q != 0) sum -= q * (logits[i] - log_sum);
    }
    loss.push_back(sum);
  }
  return loss;
}

// scale · ∂loss/∂logits: each class j of a row pulls −q_j (δ_ij − softmax_i).
inline Values cross_entropy_backward(std::size_t columns, const Values& logits, const Values& targets,
                                     double smoothing, double scale) {
  Values d(logits.size(), 0);
  for (std::size_t row = 0; row < logits.size(); row += columns) {
    const double log_sum = log_sum_exp(columns, logits, row);
    for (std::size_t i = row; i < row + columns; ++i) {
      const double p = std::exp(logits[i] - log_sum);
      for (std::size_t j = row; j < row + columns; ++j) {
        d[i] -= scale * smoothed(targets[j], smoothing, columns) * ((i == j ? 1.0 : 0.0) - p);
      }
    }
  }
  return d;
}

}  // namespace retrace::reference
