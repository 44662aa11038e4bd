// The maps to beat.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "attribution/measures/baselines.h"
#include "attribution/measures/localization.h"
#include "attribution/measures/mask.h"
#include "kernels/error.h"

namespace retrace::measures {
namespace {

TEST_CASE("random maps are uniform, and the same for the same seed") {
  const auto map = random_map(100, 100, 7, 3);
  CHECK(map == random_map(100, 100, 7, 3));
  CHECK(map != random_map(100, 100, 7, 4));
  CHECK(map != random_map(100, 100, 8, 3));
  double sum = 0, square = 0;
  for (const float v : map) {
    CHECK((v > 0 && v < 1));
    sum += v, square += double(v) * v;
  }
  // Four standard errors of 10000 values: 0.289 / 100 · 4.
  CHECK(std::fabs(sum / 1e4 - 0.5) < 0.012);
  CHECK(std::fabs(square / 1e4 - 1.0 / 3) < 0.012);
  CHECK(std::set<float>(map.begin(), map.end()).size() > 9980);
}

TEST_CASE("a random map scores the mask's share on average") {
  Mask mask(24 * 24, 0);
  for (int y = 3; y < 11; ++y)
    for (int x = 5; x < 17; ++x) mask[std::size_t(y * 24 + x)] = 1;  // 96 of 576: a sixth
  double mass = 0, rank = 0, pointing = 0;
  constexpr int maps = 2000;
  for (int i = 0; i < maps; ++i) {
    const auto map = random_map(24, 24, 1, std::uint64_t(i));
    mass += mass_accuracy(map, mask) / maps;
    rank += rank_accuracy(map, mask) / maps;
    pointing += pointing_game(map, mask) / maps;
  }
  // Standard errors: mass and rank below 0.001, pointing √(1/6 · 5/6 / 2000) = 0.0083; four of them.
  CHECK(std::fabs(mass - 1.0 / 6) < 0.004);
  CHECK(std::fabs(rank - 1.0 / 6) < 0.004);
  CHECK(std::fabs(pointing - 1.0 / 6) < 0.034);
}

TEST_CASE("the centre map is highest in the middle, symmetric, and falls as a Gaussian") {
  const int h = 12, w = 20;
  const auto map = centre_map(h, w);
  const auto at = [&](int y, int x) { return map[std::size_t(y * w + x)]; };
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      CHECK(at(y, x) == at(h - 1 - y, x));
      CHECK(at(y, x) == at(y, w - 1 - x));
      CHECK(at(y, x) <= at(h / 2, w / 2));
    }
  // Half a pixel from the middle both ways: exp(-(1/6)²/2 - (1/10)²/2) for deviations of 3 and 5.
  CHECK(at(6, 10) == doctest::Approx(std::exp(-0.5 * (1.0 / 36 + 1.0 / 100))));
  // One and a half deviations down, two and a half pixels further.
  CHECK(at(10, 10) == doctest::Approx(std::exp(-0.5 * (2.25 + 1.0 / 100))));
  CHECK_THROWS_AS(centre_map(0, 3), Error);
  CHECK_THROWS_AS(random_map(3, -1, 1, 1), Error);
}

}  // namespace
}  // namespace retrace::measures
