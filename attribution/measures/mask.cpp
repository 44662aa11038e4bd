#include "attribution/measures/mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/error.h"

namespace retrace::measures {
namespace {

void check_size(std::size_t held, int height, int width) {
  if (height <= 0 || width <= 0 || held != std::size_t(height) * std::size_t(width)) {
    throw Error(fmt::format("a mask of {} x {} (height, width) was announced, {} values were given", height,
                            width, held));
  }
}

// Dilation by a shape of rows: row dy (from -reach to reach) is 2 half(dy) + 1 pixels wide.
Mask dilate(std::span<const std::uint8_t> mask, int height, int width, int reach,
            const std::function<int(int)>& half) {
  Mask out(mask.size(), 0);
  // before[x] counts the row's mask pixels left of x.
  std::vector<int> before(std::size_t(width) + 1, 0);
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* const row = mask.data() + std::size_t(y) * std::size_t(width);
    for (int x = 0; x < width; ++x) before[std::size_t(x) + 1] = before[std::size_t(x)] + (row[x] != 0);
    if (before.back() == 0) continue;
    for (int to = std::max(0, y - reach); to <= std::min(height - 1, y + reach); ++to) {
      const int h = half(to - y);
      std::uint8_t* const target = out.data() + std::size_t(to) * std::size_t(width);
      for (int x = 0; x < width; ++x) {
        const int left = std::max(0, x - h), right = std::min(width, x + h + 1);
        if (before[std::size_t(right)] > before[std::size_t(left)]) target[x] = 1;
      }
    }
  }
  return out;
}

}  // namespace

std::size_t area(std::span<const std::uint8_t> mask) {
  return std::size_t(std::count_if(mask.begin(), mask.end(), [](std::uint8_t v) { return v != 0; }));
}

Mask dilate_disc(std::span<const std::uint8_t> mask, int height, int width, double radius) {
  check_size(mask.size(), height, width);
  if (!(radius >= 0))
    throw UsageError(fmt::format("a mask dilated by {} pixels: expected 0 or more", radius));
  const double most = std::hypot(height, width);
  const double r = std::min(radius, most);
  return dilate(mask, height, width, int(r), [&](int dy) { return int(std::sqrt(r * r - double(dy) * dy)); });
}

Mask dilate_cell(std::span<const std::uint8_t> mask, int height, int width, int grid_height, int grid_width) {
  check_size(mask.size(), height, width);
  if (grid_height <= 0 || grid_width <= 0) {
    throw Error(fmt::format("a grid of {} x {} cells: expected at least one", grid_height, grid_width));
  }
  return dilate(mask, height, width, height / grid_height, [&](int) { return width / grid_width; });
}

Mask unite(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  if (a.size() != b.size()) {
    throw Error(fmt::format("masks of {} and {} pixels cannot be united", a.size(), b.size()));
  }
  Mask out(a.size());
  std::transform(a.begin(), a.end(), b.begin(), out.begin(),
                 [](std::uint8_t x, std::uint8_t y) { return std::uint8_t(x != 0 || y != 0); });
  return out;
}

}  // namespace retrace::measures
