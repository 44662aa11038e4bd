// Batch norm in training in float64, straight from the definition.
#pragma once
#include <cmath>

#include "tests/reference/signal.h"

namespace retrace::reference {

struct BatchNormForward {
  Values y, mean, inverse_std, unbiased;  // y before residual and ReLU
};

inline BatchNormForward batch_norm(int pixels, int c, const Values& x, const Values& weight,
                                   const Values& bias, double epsilon) {
  BatchNormForward f;
  f.y.resize(x.size());
  const auto at = [&](int p, int j) { return std::size_t(p) * std::size_t(c) + std::size_t(j); };
  for (int j = 0; j < c; ++j) {
    double mean = 0, square = 0;
    for (int p = 0; p < pixels; ++p) mean += x[at(p, j)] / pixels;
    for (int p = 0; p < pixels; ++p) square += (x[at(p, j)] - mean) * (x[at(p, j)] - mean);
    const double inverse = 1 / std::sqrt(square / pixels + epsilon);
    f.mean.push_back(mean);
    f.inverse_std.push_back(inverse);
    f.unbiased.push_back(square / (pixels - 1));
    for (int p = 0; p < pixels; ++p) {
      f.y[at(p, j)] = (x[at(p, j)] - mean) * inverse * weight[std::size_t(j)] + bias[std::size_t(j)];
    }
  }
  return f;
}

struct BatchNormGradient {
  Values dx, dweight, dbias;
};

inline BatchNormGradient batch_norm_backward(int pixels, int c, const Values& x, const Values& dy,
                                             const Values& weight, const BatchNormForward& f) {
  BatchNormGradient g;
  g.dx.resize(x.size());
  const auto at = [&](int p, int j) { return std::size_t(p) * std::size_t(c) + std::size_t(j); };
  for (int j = 0; j < c; ++j) {
    const double mean = f.mean[std::size_t(j)], inverse = f.inverse_std[std::size_t(j)];
    double dbias = 0, dweight = 0;
    for (int p = 0; p < pixels; ++p) {
      dbias += dy[at(p, j)];
      dweight += dy[at(p, j)] * (x[at(p, j)] - mean) * inverse;
    }
    g.dbias.push_back(dbias);
    g.dweight.push_back(dweight);
    for (int p = 0; p < pixels; ++p) {
      const double hat = (x[at(p, j)] - mean) * inverse;
      g.dx[at(p, j)] =
          weight[std::size_t(j)] * inverse * (dy[at(p, j)] - dbias / pixels - hat * dweight / pixels);
    }
  }
  return g;
}

}  // namespace retrace::reference
