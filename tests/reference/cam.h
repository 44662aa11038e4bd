// The steps of Grad-CAM in float64.
#pragma once
#include <algorithm>
#include <cmath>

#include "tests/reference/signal.h"

namespace retrace::reference {

// Mean over h and w of x [n, h, w, c].
inline Values spatial_mean(std::size_t n, std::size_t pixels, std::size_t c, const std::vector<float>& x) {
  Values mean(n * c, 0);
  for (std::size_t i = 0; i < x.size(); ++i) mean[i / (pixels * c) * c + i % c] += x[i] / double(pixels);
  return mean;
}

// relu?(Σ_c weights [n, c] · activations [n, pixels, c])
inline Values cam(std::size_t n, std::size_t pixels, std::size_t c, const std::vector<float>& weights,
                  const std::vector<float>& activations, bool with_relu) {
  Values map(n * pixels, 0);
  for (std::size_t i = 0; i < activations.size(); ++i) {
    map[i / c] += double(weights[i / (pixels * c) * c + i % c]) * activations[i];
  }
  if (with_relu) relu(map);
  return map;
}

// Sum of the four neighbours by their distance; a position outside is moved to the edge.
inline Values bilinear(int n, int h, int w, int out_h, int out_w, const std::vector<float>& x) {
  Values y;
  for (int image = 0; image < n; ++image) {
    for (int row = 0; row < out_h; ++row) {
      for (int column = 0; column < out_w; ++column) {
        const double v = std::clamp((row + 0.5) * h / out_h - 0.5, 0.0, h - 1.0);
        const double u = std::clamp((column + 0.5) * w / out_w - 0.5, 0.0, w - 1.0);
        double sum = 0;
        for (int i = 0; i < h; ++i) {
          for (int j = 0; j < w; ++j) {
            const double weight = std::max(0.0, 1 - std::abs(v - i)) * std::max(0.0, 1 - std::abs(u - j));
            if (weight > 0) sum += weight * x[std::size_t((image * h + i) * w + j)];
          }
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

}  // namespace retrace::reference
