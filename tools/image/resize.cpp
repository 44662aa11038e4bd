#include "tools/image/resize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/error.h"

namespace retrace::image {
namespace {

// The inputs that one output pixel is made of: `count` of them from `first`, weights from `weights[at]`.
struct Taps {
  int first = 0, count = 0;
  std::size_t at = 0;
};
struct Axis {
  std::vector<Taps> taps;
  std::vector<std::int32_t> weights;
};

constexpr int fixed_bits = 22;  // 255 · 2²² still fits into 31 bits

// Outputs `begin` … `begin + count` of an axis that goes from `in` to `out` pixels.
Axis make_axis(int in, int out, int begin, int count) {
  const double scale = double(in) / out;
  const double reach = std::max(scale, 1.0);  // half the width of the triangle, in input pixels
  Axis axis;
  std::vector<double> w;
  for (int i = begin; i < begin + count; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, int(centre - reach + 0.5)), last = std::min(in, int(centre + reach + 0.5));
    w.clear();
    double sum = 0;
    for (int j = first; j < last; ++j) {
      w.push_back(std::max(0.0, 1 - std::fabs((j - centre + 0.5) / reach)));
      sum += w.back();
    }
    axis.taps.push_back({first, last - first, axis.weights.size()});
    for (const double v : w) axis.weights.push_back(std::int32_t(v / sum * (1 << fixed_bits) + 0.5));
  }
  return axis;
}

std::uint8_t to_byte(std::int32_t sum) {
  return std::uint8_t(std::clamp((sum + (1 << (fixed_bits - 1))) >> fixed_bits, 0, 255));
}

}  // namespace

Picture resize_bilinear(const Picture& picture, int width, int height, Window window) {
  render::check_picture(picture);
  if (width <= 0 || height <= 0)
    throw Error(
        fmt::format("cannot resize a picture to {} x {} pixels: sides must be positive", width, height));
  if (window.left < 0 || window.top < 0 || window.width <= 0 || window.height <= 0 ||
      window.left > width - window.width || window.top > height - window.height)
    throw Error(fmt::format("window {} x {} at ({}, {}) is not inside a picture of {} x {} pixels",
                            window.width, window.height, window.left, window.top, width, height));

  const Axis down = make_axis(picture.height, height, window.top, window.height);
  // Only rows that the second pass reads. A side that keeps its length has weights of exactly 1: nothing
  // changes.
  const int first_row = down.taps.front().first, last_row = down.taps.back().first + down.taps.back().count;
  Picture narrow = render::blank(window.width, last_row - first_row, {});
  const Axis across = make_axis(picture.width, width, window.left, window.width);
  for (int y = 0; y < narrow.height; ++y)
    for (int x = 0; x < window.width; ++x) {
      const Taps taps = across.taps[std::size_t(x)];
      const std::uint8_t* const from = picture.pixel(taps.first, y + first_row);
      std::int32_t sum[3] = {0, 0, 0};
      for (int j = 0; j < taps.count; ++j)
        for (int c = 0; c < 3; ++c) sum[c] += across.weights[taps.at + std::size_t(j)] * from[3 * j + c];
      for (int c = 0; c < 3; ++c) narrow.pixel(x, y)[c] = to_byte(sum[c]);
    }

  Picture out = render::blank(window.width, window.height, {});
  std::vector<std::int32_t> sums(std::size_t(window.width) * 3);
  for (int y = 0; y < window.height; ++y) {
    const Taps taps = down.taps[std::size_t(y)];
    std::fill(sums.begin(), sums.end(), 0);
    for (int j = 0; j < taps.count; ++j) {
      const std::int32_t weight = down.weights[taps.at + std::size_t(j)];
      const std::uint8_t* const row = narrow.pixel(0, taps.first - first_row + j);
      for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += weight * row[x];
    }
    std::transform(sums.begin(), sums.end(), out.pixel(0, y), to_byte);
  }
  return out;
}

Picture resize_bilinear(const Picture& picture, int width, int height) {
  return resize_bilinear(picture, width, height, {0, 0, width, height});
}

}  // namespace retrace::image
