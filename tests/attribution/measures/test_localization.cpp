// Mass, rank, pointing and two objects, on maps small enough to work out by hand.
#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "attribution/measures/localization.h"
#include "attribution/measures/mask.h"
#include "kernels/error.h"

namespace retrace::measures {
namespace {

using V = std::vector<float>;
// Exact but for the last bits of a division in double.
doctest::Approx about(double v) {
  return doctest::Approx(v).epsilon(1e-12);
}

TEST_CASE("mass: the positive relevance inside over all of it") {
  // 1 + 2 of 1 + 2 + 3 + 4; what is negative counts nowhere.
  CHECK(mass_accuracy(V{1, 2, 3, 4, -5, -6}, Mask{1, 1, 0, 0, 1, 0}) == about(0.3));
  CHECK(mass_accuracy(V{0, 0, 3, 0}, Mask{0, 0, 1, 1}) == 1);
  CHECK(mass_accuracy(V{0, 0, 3, 0}, Mask{1, 1, 0, 1}) == 0);
}

TEST_CASE("rank: of the |mask| highest the share inside") {
  // The three highest are 9, 8, 7; two of them inside.
  CHECK(rank_accuracy(V{9, 8, 1, 7, 2, -3}, Mask{1, 1, 1, 0, 0, 0}) == about(2.0 / 3));
  CHECK(rank_accuracy(V{9, 8, 7, 1, 2, -3}, Mask{1, 1, 1, 0, 0, 0}) == 1);
  CHECK(rank_accuracy(V{1, 2, 3, 7, 8, 9}, Mask{1, 1, 1, 0, 0, 0}) == 0);
  // 9 is in; one place is left for four pixels of 5, of which one is inside: (0 + 1/4) / 2.
  CHECK(rank_accuracy(V{9, 5, 5, 5, 5, 1}, Mask{0, 1, 0, 0, 0, 1}) == about(0.125));
}

TEST_CASE("pointing: is the highest pixel inside") {
  CHECK(pointing_game(V{1, 5, 2, 3}, Mask{0, 1, 0, 0}) == 1);
  CHECK(pointing_game(V{1, 5, 2, 3}, Mask{1, 0, 1, 1}) == 0);
  CHECK(pointing_game(V{5, 5, 5, 3}, Mask{0, 1, 0, 1}) == about(1.0 / 3));
}

TEST_CASE("a constant map scores the mask's share; a perfect one 1") {
  Mask mask(60, 0);
  for (const std::size_t p : {3u, 4u, 5u, 17u, 18u, 40u}) mask[p] = 1;
  const V constant(60, 0.7f);
  CHECK(mass_accuracy(constant, mask) == about(0.1));
  CHECK(rank_accuracy(constant, mask) == about(0.1));
  CHECK(pointing_game(constant, mask) == about(0.1));
  V perfect(60, -1);
  for (std::size_t p = 0; p < 60; ++p)
    if (mask[p]) perfect[p] = float(p);
  CHECK(mass_accuracy(perfect, mask) == 1);
  CHECK(rank_accuracy(perfect, mask) == 1);
  CHECK(pointing_game(perfect, mask) == 1);
  // A wider mask holds no less mass, and a factor changes nothing.
  V some(60), doubled(60);
  for (std::size_t p = 0; p < 60; ++p) some[p] = float((p * 37) % 19) - 6, doubled[p] = 2 * some[p];
  CHECK(mass_accuracy(some, dilate_disc(mask, 6, 10, 1)) > mass_accuracy(some, mask));
  CHECK(mass_accuracy(doubled, mask) == about(mass_accuracy(some, mask)));
  CHECK(rank_accuracy(doubled, mask) == rank_accuracy(some, mask));
}

TEST_CASE("a map that shows nothing fails everywhere") {
  for (const V& map : {V{0, 0, 0}, V{-1, 0, -2}, V{-1, -1, -1}}) {
    CHECK_FALSE(shows_anything(map));
    CHECK(mass_accuracy(map, Mask{1, 1, 1}) == 0);
    CHECK(rank_accuracy(map, Mask{1, 1, 1}) == 0);
    CHECK(pointing_game(map, Mask{1, 1, 1}) == 0);
  }
  CHECK(shows_anything(V{0, -1, 1e-30f}));
}

TEST_CASE("two objects: own against other") {
  const Mask a{1, 1, 0, 0, 0, 0}, b{0, 0, 1, 1, 0, 0}, c{0, 0, 0, 0, 1, 0};
  const V map{1, 2, 3, 0, 2, 2};
  const MaskView other_b[] = {b}, other_bc[] = {b, c};
  ObjectShare share = object_share(map, a, other_b);
  CHECK(share.own == about(0.3));
  CHECK(share.other == about(0.3));
  CHECK_FALSE(share.follows());  // as much on the other is not following
  share = object_share(V{1, 3, 3, 0, 2, 1}, a, other_bc);
  CHECK(share.own == about(0.4));
  CHECK(share.other == about(0.3));
  CHECK(share.follows());
  CHECK_FALSE(object_share(V{0, 0, 0, 0, 0, 0}, a, other_b).follows());
}

TEST_CASE("what cannot be measured is refused") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(mass_accuracy(V{1, 2}, Mask{1}), Error);
  CHECK_THROWS_AS(rank_accuracy(V{1, 2}, Mask{0, 0}), Error);
  CHECK_THROWS_WITH_AS(mass_accuracy(V{1, nan}, Mask{1, 0}), "the map is not finite: pixel 1 is nan", Error);
  CHECK_THROWS_AS(pointing_game(V{1, inf}, Mask{1, 0}), Error);
  CHECK_THROWS_AS(object_share(V{1, 2}, Mask{1, 0}, {}), Error);
}

}  // namespace
}  // namespace retrace::measures
