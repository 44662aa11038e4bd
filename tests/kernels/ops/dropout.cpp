#include <cmath>

#include "tests/kernels/ops/support.h"
#include "tests/reference/philox.h"

using namespace retrace;
using namespace retrace::test;

namespace {

struct Run {
  float p;
  std::uint64_t seed = 0, offset = 0;
};

Floats drop(const Floats& x, const Run& run, bool in_place = false) {
  const Input<float> from(x);
  const Output<float> to(size_of(std::ptrdiff_t(x.size())));
  kernels::Dropout a;
  a.count = std::ptrdiff_t(x.size());
  a.p = run.p;
  a.seed = run.seed;
  a.offset = run.offset;
  a.x = from;
  a.y = in_place ? from : static_cast<float*>(to);
  table().dropout(a, stream());
  return in_place ? from.to_host() : to.to_host();
}

// How far `hits` of `of` is from the probability, in standard deviations of the binomial.
double sigmas(double hits, double of, double probability) {
  return std::abs(hits - of * probability) / std::sqrt(of * probability * (1 - probability));
}

// Where two masks of 0 and not 0 agree.
double agreements(const Floats& a, const Floats& b) {
  double same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) same += (a[i] == 0) == (b[i] == 0);
  return same;
}

constexpr std::uint64_t high_bits = 0x9c0ffee500000001;

}  // namespace

TEST_CASE("the reference of Philox: the known answers that came with the paper's program") {
  CHECK(reference::philox({0, 0, 0, 0}, 0) ==
        reference::PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK(reference::philox({ones, ones, ones, ones}, ~0ULL) ==
        reference::PhiloxWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(reference::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822) ==
        reference::PhiloxWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("dropout: which elements stay, and what they become") {
  // Threads take 4 elements, blocks 1024: tails of both, and more than one block.
  for (const int count : {1, 2, 3, 4, 5, 1023, 1024, 1027, 4099}) {
    for (const Run& run : {Run{0}, Run{0.5f, 1, 2}, Run{0.1f, high_bits, 3}, Run{0.9f, 4, high_bits},
                           Run{0x1.fffffep-1f, 5, 6}}) {
      CAPTURE(count);
      CAPTURE(run.p);
      const Floats x = random_floats(count, 1, 0.5f, 1);
      const Floats got = run_all_ways(1, [&](int, int) { return Results{.y = drop(x, run)}; }).y;
      Floats want(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        want[i] = reference::kept(i, double(run.p), run.seed, run.offset) ? x[i] * (1 / (1 - run.p)) : 0;
      }
      CHECK_SAME_BITS(got, want);
      CHECK_SAME_BITS(drop(x, run, true), got);
      if (run.p == 0) CHECK_SAME_BITS(got, x);
    }
  }
}

TEST_CASE("dropout keeps as many as it says, and each seed and offset its own") {
  const int count = 100003;
  const Floats x(count, 1.0f);
  for (const float p : {0.1f, 0.5f, 0.9f}) {
    CAPTURE(p);
    const Floats y = drop(x, {p, 7, 9});
    const double kept = double(count) - double(std::count(y.begin(), y.end(), 0.0f));
    CHECK(sigmas(kept, count, 1 - double(p)) < 5);
    // The expectation stays: the mean is 1 within 5 deviations of it.
    double sum = 0;
    for (const float v : y) sum += double(v);
    CHECK(std::abs(sum / count - 1) < 5 * std::sqrt(double(p) / (1 - double(p)) / count));
    // Two independent masks agree where both keep or both drop.
    const double agree = double(p) * double(p) + (1 - double(p)) * (1 - double(p));
    for (const Run& other : {Run{p, 8, 9}, Run{p, 7, 10}, Run{p, 7 + (1ULL << 32), 9},
                             Run{p, 7, 9 + (1ULL << 32)}, Run{p, 9, 7}}) {
      CAPTURE(other.seed);
      CAPTURE(other.offset);
      CHECK(sigmas(agreements(y, drop(x, other)), count, agree) < 5);
    }
    // Neighbours are independent too, those of one draw of four words and those of two.
    Floats next(y.begin() + 1, y.end());
    next.push_back(y[0]);
    CHECK(sigmas(agreements(y, next), count, agree) < 5);
  }
}

TEST_CASE("dropout: the same launch on dy drops the same elements, and drops NaN and infinity whole") {
  const Run run{0.4f, 3, 5};
  const Floats y = drop(Floats(1001, 1.0f), run), dx = drop(Floats(1001, -2.0f), run);
  for (std::size_t i = 0; i < 1001; ++i) CHECK(dx[i] == -2 * y[i]);
  const Floats wild = drop(Floats(1001, nan_value), run), infinite = drop(Floats(1001, infinity), run);
  for (std::size_t i = 0; i < 1001; ++i) {
    CHECK(std::isnan(wild[i]) == (y[i] != 0));
    CHECK(infinite[i] == (y[i] != 0 ? infinity : 0.0f));
  }
}
