#include <cmath>

#include "kernels/ops/philox.cuh"
#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

Floats drop(const Floats& x, float p, std::uint64_t seed, std::uint64_t offset, bool in_place = false) {
  const Input<float> in(x);
  const Output<float> out(std::ptrdiff_t(x.size()));
  table().dropout({(long long)(x.size()), p, seed, offset, in,
                   in_place ? static_cast<float*>(in) : static_cast<float*>(out)},
                  stream());
  return in_place ? in.to_host() : out.to_host();
}

}  // namespace

TEST_CASE("Philox 4x32-10 gives the known answers of Random123") {
  // The device function is a plain function for the simulator's compiler.
  using kernels::sim::philox;
  using kernels::sim::PhiloxWords;
  const auto check = [](PhiloxWords got, std::vector<std::uint32_t> want) {
    for (int i = 0; i < 4; ++i) CHECK(got.w[i] == want[std::size_t(i)]);
  };
  check(philox({{0, 0, 0, 0}}, 0, 0), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  check(philox({{ones, ones, ones, ones}}, ones, ones), {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
}

TEST_CASE("dropout keeps the right share, scales it, and is a function of seed, offset and place") {
  const Floats x = random_floats(100003, 1, 1, 2);  // not a multiple of 4
  for (const float p : {0.0f, 0.1f, 0.5f, 0.9f}) {
    CAPTURE(p);
    const Floats y = run_all_ways(1, [&](int, int) { return Results{.y = drop(x, p, 7, 3)}; }).y;
    double kept = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (y[i] == 0) continue;
      ++kept;
      REQUIRE(y[i] == doctest::Approx(x[i] / (1 - p)).epsilon(1e-6));
    }
    // Five standard deviations of a binomial count.
    const double n = double(x.size());
    CHECK(std::abs(kept - n * (1 - double(p))) <= 5 * std::sqrt(n * double(p) * (1 - double(p))));
    if (p == 0) CHECK_SAME_BITS(y, x);
    CHECK_SAME_BITS(drop(x, p, 7, 3, true), y);
    if (p == 0) continue;
    CHECK(drop(x, p, 8, 3) != y);
    CHECK(drop(x, p, 7, 4) != y);
    CHECK(drop(x, p, 7, 3 + (1ull << 32)) != y);
    // The backward pass: dy goes where x went.
    const Floats dy = drop(Floats(x.size(), 1), p, 7, 3);
    for (std::size_t i = 0; i < x.size(); ++i) REQUIRE((dy[i] == 0) == (y[i] == 0));
  }
}

TEST_CASE("dropout refuses what it cannot work on") {
  const Output<float> x(8), y(8);
  const auto with = [&](auto change) {
    kernels::Dropout a{8, 0.5f, 1, 0, x, y};
    change(a);
    return [a] { table().dropout(a, stream()); };
  };
  with([](auto&) {})();
  check_refused(with([](auto& a) { a.count = 0; }), {"dropout", "count is 0"});
  for (const float p : {-0.1f, 1.0f, nan_value}) {
    check_refused(with([&](auto& a) { a.p = p; }), {"p is", "0 to below 1"});
  }
  check_refused(with([](auto& a) { a.x = nullptr; }), {"x is null"});
  check_refused(with([](auto& a) { a.y = nullptr; }), {"y is null"});
  check_refused(with([&](auto& a) { a.y = x + 4; }), {"y", "memory of x"});
}
