#include "attribution/measures/localization.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "attribution/measures/mask.h"
#include "kernels/error.h"

namespace retrace::measures {
namespace {

void check(Map map, MaskView mask) {
  if (map.size() != mask.size() || map.empty()) {
    throw Error(fmt::format("a map of {} pixels was given with a mask of {}", map.size(), mask.size()));
  }
  if (area(mask) == 0) throw Error("the mask is empty: there is no object for the map to lie on");
  const auto bad = std::find_if(map.begin(), map.end(), [](float v) { return !std::isfinite(v); });
  if (bad != map.end()) {
    throw Error(fmt::format("the map is not finite: pixel {} is {}", bad - map.begin(), *bad));
  }
}

struct Mass {
  double inside = 0, all = 0;
};

Mass positive_mass(Map map, MaskView mask) {
  Mass mass;
  for (std::size_t p = 0; p < map.size(); ++p) {
    if (map[p] <= 0) continue;
    mass.all += map[p];
    if (mask[p]) mass.inside += map[p];
  }
  return mass;
}

}  // namespace

bool shows_anything(Map map) {
  return std::any_of(map.begin(), map.end(), [](float v) { return v > 0; });
}

double mass_accuracy(Map map, MaskView mask) {
  check(map, mask);
  const Mass mass = positive_mass(map, mask);
  return mass.all > 0 ? mass.inside / mass.all : 0;
}

double rank_accuracy(Map map, MaskView mask) {
  check(map, mask);
  if (!shows_anything(map)) return 0;
  const std::size_t k = area(mask);
  std::vector<float> values(map.begin(), map.end());
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(k - 1), values.end(), std::greater<>());
  const float last = values[k - 1];
  std::size_t above = 0, above_inside = 0, tied = 0, tied_inside = 0;
  for (std::size_t p = 0; p < map.size(); ++p) {
    if (map[p] > last) ++above, above_inside += mask[p] != 0;
    if (map[p] == last) ++tied, tied_inside += mask[p] != 0;
  }
  return (double(above_inside) + double(k - above) * double(tied_inside) / double(tied)) / double(k);
}

double pointing_game(Map map, MaskView mask) {
  check(map, mask);
  const float highest = *std::max_element(map.begin(), map.end());
  if (highest <= 0) return 0;
  std::size_t tied = 0, inside = 0;
  for (std::size_t p = 0; p < map.size(); ++p) {
    if (map[p] == highest) ++tied, inside += mask[p] != 0;
  }
  return double(inside) / double(tied);
}

ObjectShare object_share(Map map, MaskView own, std::span<const MaskView> others) {
  if (others.empty()) throw Error("the test of two objects needs another object");
  ObjectShare share{.own = mass_accuracy(map, own)};
  for (const MaskView other : others) share.other = std::max(share.other, mass_accuracy(map, other));
  return share;
}

}  // namespace retrace::measures
