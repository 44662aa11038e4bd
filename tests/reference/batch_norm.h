// Batch norm in training and its gradient in float64.
#pragma once
#include <cmath>

#include "tests/reference/signal.h"

namespace retrace::reference {

struct BatchStatistics {
  Values mean, variance, inverse_std;  // per channel; the biased variance
};
// In two passes: the mean, then Σ (x − mean)².
inline BatchStatistics batch_statistics(std::size_t c, const Values& x, double epsilon) {
  const double n = double(x.size() / c);
  BatchStatistics s{Values(c, 0), Values(c, 0), Values(c)};
  for (std::size_t i = 0; i < x.size(); ++i) s.mean[i % c] += x[i] / n;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double off = x[i] - s.mean[i % c];
    s.variance[i % c] += off * off / n;
  }
  for (std::size_t i = 0; i < c; ++i) s.inverse_std[i] = 1 / std::sqrt(s.variance[i] + epsilon);
  return s;
}

// x̂ · weight + bias, x [pixels, c].
inline Values batch_norm(const Values& x, const Values& weight, const Values& bias, double epsilon) {
  const std::size_t c = weight.size();
  const BatchStatistics s = batch_statistics(c, x, epsilon);
  Values y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = (x[i] - s.mean[i % c]) * s.inverse_std[i % c] * weight[i % c] + bias[i % c];
  }
  return y;
}

struct BatchNormGradients {
  Values dx, dweight, dbias;
};
// Through the definition, one step at a time: y of x̂, x̂ of x − mean and variance, both of these of x.
inline BatchNormGradients batch_norm_backward(const Values& x, const Values& dy, const Values& weight,
                                              double epsilon) {
  const std::size_t c = weight.size();
  const double n = double(x.size() / c);
  const BatchStatistics s = batch_statistics(c, x, epsilon);
  BatchNormGradients g{Values(x.size()), Values(c, 0), Values(c, 0)};
  Values to_variance(c, 0), to_mean(c, 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t k = i % c;
    const double off = x[i] - s.mean[k], to_normal = dy[i] * weight[k];
    g.dbias[k] += dy[i];
    g.dweight[k] += dy[i] * off * s.inverse_std[k];
    to_variance[k] += to_normal * off * -0.5 * std::pow(s.inverse_std[k], 3);
    to_mean[k] -= to_normal * s.inverse_std[k];
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t k = i % c;
    g.dx[i] =
        dy[i] * weight[k] * s.inverse_std[k] + to_variance[k] * 2 * (x[i] - s.mean[k]) / n + to_mean[k] / n;
  }
  return g;
}

}  // namespace retrace::reference
