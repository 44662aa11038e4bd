// Deletion and insertion, with scores that can be worked out by hand instead of a network.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "attribution/measures/perturbation.h"
#include "kernels/error.h"

namespace retrace::measures {
namespace {

using Order = std::vector<int>;
using V = std::vector<double>;

// The mean of the red channel, 0 … 1.
float redness(const Picture& p) {
  double sum = 0;
  for (std::size_t i = 0; i < p.rgb.size(); i += 3) sum += p.rgb[i];
  return float(sum / (255.0 * p.width * p.height));
}

std::vector<float> rednesses(const std::vector<Picture>& pictures) {
  std::vector<float> out;
  for (const Picture& p : pictures) out.push_back(redness(p));
  return out;
}

void check_values(const V& found, const V& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6));  // scores are floats
  }
}

TEST_CASE("patches are ranked by their sum") {
  // 4 x 6 in patches of 2: sums 4, 2, -1 above and 4, 5, 0 below.
  const std::vector<float> map{1, 1, 2,  0, 0, -1,  //
                               1, 1, 0,  0, 0, 0,   //
                               4, 0, 9,  0, 1, 0,   //
                               0, 0, -4, 0, 0, -1};
  CHECK(rank_patches(map, 4, 6, 2) == Order{4, 0, 3, 1, 5, 2});
  // Patches of 4: 16 pixels that sum to 15 and 8 that sum to -1.
  CHECK(rank_patches(map, 4, 6, 4) == Order{0, 1});
  CHECK(rank_patches(map, 4, 6, 100) == Order{0});
  CHECK_THROWS_AS(rank_patches(map, 4, 5, 2), Error);
  CHECK_THROWS_AS(rank_patches(map, 4, 6, 0), UsageError);
}

TEST_CASE("curves worked out by hand") {
  // Four patches of 1 x 1; only the second is red. Removed: black.
  const Picture picture{2, 2, {0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0}}, black = filled(2, 2, {0, 0, 0});
  const Order orders[] = {{1, 0, 2, 3}, {0, 2, 3, 1}};
  for (const int batch : {1, 2, 3, 100}) {
    const auto curves =
        deletion_insertion(picture, black, orders, {.patch = 1, .steps = 4, .batch = batch}, rednesses);
    check_values(curves[0].share, {0, 0.25, 0.5, 0.75, 1});
    check_values(curves[0].deletion, {0.25, 0, 0, 0, 0});
    check_values(curves[0].insertion, {0, 0.25, 0.25, 0.25, 0.25});
    CHECK(curves[0].deletion_area == doctest::Approx(0.25 * 0.25 / 2));
    CHECK(curves[0].insertion_area == doctest::Approx(0.25 - 0.25 * 0.25 / 2));
    CHECK(curves[0].score() == doctest::Approx(0.1875));
    // The worst order is as bad as the best is good.
    CHECK(curves[1].score() == doctest::Approx(-0.1875));
  }
}

TEST_CASE("patches at the edges are smaller: shares count pixels") {
  // 5 x 3 in patches of 2: 4, 4, 2 pixels above and 2, 2, 1 below.
  const Picture red = filled(5, 3, {255, 0, 0}), black = filled(5, 3, {0, 0, 0});
  Order order(6);
  std::iota(order.begin(), order.end(), 0);
  const auto curves =
      deletion_insertion(red, black, std::span(&order, 1), {.patch = 2, .steps = 3}, rednesses);
  check_values(curves[0].share, {0, 8.0 / 15, 12.0 / 15, 1});
  check_values(curves[0].deletion, {1, 7.0 / 15, 3.0 / 15, 0});
  check_values(curves[0].insertion, {0, 8.0 / 15, 12.0 / 15, 1});
  // A score that is linear in the share has both areas 1/2, and says nothing.
  CHECK(curves[0].score() == doctest::Approx(0).epsilon(1e-6));
  // More steps than patches: one a patch.
  CHECK(deletion_insertion(red, black, std::span(&order, 1), {.patch = 2, .steps = 1000}, rednesses)[0]
            .share.size() == 7);
}

TEST_CASE("both ends are scored once for all orders, and batches are kept") {
  const Picture red = filled(4, 4, {255, 0, 0}), black = filled(4, 4, {0, 0, 0});
  std::vector<Order> orders(3, Order(16));
  for (Order& order : orders) std::iota(order.begin(), order.end(), 0);
  std::size_t pictures = 0, largest = 0;
  deletion_insertion(red, black, orders, {.patch = 1, .steps = 8, .batch = 5},
                     [&](const std::vector<Picture>& some) {
                       pictures += some.size();
                       largest = std::max(largest, some.size());
                       return rednesses(some);
                     });
  CHECK(pictures == 2 + 3 * 2 * 7);
  CHECK(largest == 5);
  // Without an order there is nothing but the ends.
  CHECK(deletion_insertion(red, black, {}, {}, rednesses).empty());
}

TEST_CASE("trapezium rule") {
  CHECK(trapezium(V{0, 1}, V{0, 1}) == 0.5);
  CHECK(trapezium(V{0, 0.25, 1}, V{1, 0, 0}) == 0.125);
  CHECK(trapezium(V{}, V{}) == 0);
  CHECK(trapezium(V{0, 0.1, 0.7, 1}, V{3, 3, 3, 3}) == doctest::Approx(3));
  CHECK_THROWS_AS(trapezium(V{0, 1}, V{0}), Error);
}

TEST_CASE("a blur keeps what is flat, and the mean inside") {
  const Picture flat = filled(9, 7, {10, 200, 33});
  CHECK(blurred(flat, 2).rgb == flat.rgb);
  Picture dot = filled(41, 41, {0, 0, 0});
  dot.pixel(20, 20)[1] = 255;
  const Picture soft = blurred(dot, 2);
  // The middle of a Gaussian of deviation 2 is 1 / (2 π 4) = 0.0398: 10.1 of 255.
  CHECK(soft.pixel(20, 20)[1] == 10);
  CHECK(soft.pixel(20, 20)[0] == 0);
  // exp(-1/2) of it at a distance of one deviation, the same in all four directions.
  for (const auto& [x, y] : {std::pair{18, 20}, {22, 20}, {20, 18}, {20, 22}})
    CHECK(soft.pixel(x, y)[1] == 6);
  CHECK_THROWS_AS(blurred(flat, 0), UsageError);
  CHECK_THROWS_AS(blurred(flat, NAN), UsageError);
}

TEST_CASE("what cannot be done is refused") {
  const Picture a = filled(4, 4, {1, 2, 3}), b = filled(4, 5, {1, 2, 3});
  const Order good{3, 1, 0, 2}, few{0, 1, 2}, twice{0, 1, 2, 2}, beyond{0, 1, 2, 4};
  const PerturbationOptions options{.patch = 2, .steps = 2};
  CHECK_NOTHROW(deletion_insertion(a, a, std::span(&good, 1), options, rednesses));
  CHECK_THROWS_AS(deletion_insertion(a, b, std::span(&good, 1), options, rednesses), Error);
  for (const Order& bad : {few, twice, beyond})
    CHECK_THROWS_AS(deletion_insertion(a, a, std::span(&bad, 1), options, rednesses), Error);
  CHECK_THROWS_AS(deletion_insertion(a, a, std::span(&good, 1), {.patch = 0}, rednesses), UsageError);
  CHECK_THROWS_AS(deletion_insertion(a, a, std::span(&good, 1), {.patch = 2, .steps = 0}, rednesses),
                  UsageError);
  CHECK_THROWS_AS(deletion_insertion(a, a, std::span(&good, 1), {.patch = 2, .batch = 0}, rednesses),
                  UsageError);
  const auto none = [](const std::vector<Picture>&) { return std::vector<float>{}; };
  CHECK_THROWS_AS(deletion_insertion(a, a, std::span(&good, 1), options, none), Error);
  const auto nan = [](const std::vector<Picture>& p) { return std::vector<float>(p.size(), NAN); };
  CHECK_THROWS_AS(deletion_insertion(a, a, std::span(&good, 1), options, nan), Error);
}

}  // namespace
}  // namespace retrace::measures
