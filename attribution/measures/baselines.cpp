#include "attribution/measures/baselines.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/error.h"

namespace retrace::measures {
namespace {

// One output of SplitMix64 (G. Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014).
std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

void check_size(int height, int width) {
  if (height <= 0 || width <= 0) {
    throw Error(fmt::format("a map of {} x {} (height, width): expected at least one pixel", height, width));
  }
}

}  // namespace

std::vector<float> random_map(int height, int width, std::uint64_t seed, std::uint64_t index) {
  check_size(height, width);
  std::vector<float> map(std::size_t(height) * std::size_t(width));
  const std::uint64_t start = mix(mix(seed) ^ index);
  // 23 bits and a half: exact in a float, never 0.
  for (std::size_t p = 0; p < map.size(); ++p) {
    map[p] = (float(mix(start + p) >> 41) + 0.5f) * 0x1p-23f;
  }
  return map;
}

std::vector<float> centre_map(int height, int width) {
  check_size(height, width);
  std::vector<float> map(std::size_t(height) * std::size_t(width));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const double dy = (y + 0.5 - height * 0.5) / (height * 0.25),
                   dx = (x + 0.5 - width * 0.5) / (width * 0.25);
      map[std::size_t(y) * std::size_t(width) + std::size_t(x)] = float(std::exp(-0.5 * (dx * dx + dy * dy)));
    }
  }
  return map;
}

}  // namespace retrace::measures
