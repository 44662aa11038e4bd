#include "tests/kernels/ops/support.h"
#include "tests/reference/signal.h"

using namespace retrace;
using namespace retrace::test;

TEST_CASE("reduce_dot") {
  // Below, at and above one group (4), one round of the block (2048); counts that leave images unaligned.
  for (const int count : {1, 3, 4, 7, 1000, 2048, 2049, 10001}) {
    for (const int n : {1, 3, 4}) {
      for (const bool with_b : {false, true}) {
        CAPTURE(count);
        CAPTURE(n);
        CAPTURE(with_b);
        const Floats a = random_floats(1LL * n * count, 1);
        const Floats b = with_b ? random_floats(1LL * n * count, 2) : Floats();
        const Results got = run_all_ways(n, [&, n = n](int first, int images) {
          const Input<float> device_a(a, n, first, images), device_b(b, n, first, images);
          const Output<double> out(images);
          table().reduce_dot({images, count, device_a, device_b, out}, stream());
          return Results{.y = {}, .sums = out.to_host()};
        });
        reference::Values want(std::size_t(n), 0);
        for (std::size_t i = 0; i < a.size(); ++i)
          want[i / std::size_t(count)] += double(a[i]) * (with_b ? double(b[i]) : 1);
        // The sum of at most 10001 values up to 1 in double, in another order: 1e4 · 2^-53 · |partial sums|
        // below 200.
        CHECK_CLOSE(got.sums, want, 2.3e-10, 1e-12);
      }
    }
  }
}

TEST_CASE("reduce_dot keeps what float would lose") {
  Floats a(4096, 1e-4f);
  a[0] = 1e8f;
  a[4095] = -1e8f;
  const Input<float> device_a(a);
  const Output<double> out(1);
  table().reduce_dot({1, 4096, device_a, nullptr, out}, stream());
  CHECK(out.to_host()[0] ==
        doctest::Approx(4094 * double(1e-4f)).epsilon(1e-6));  // 1e8 in double: steps of 1.5e-8
}

TEST_CASE("reduce_dot refuses what it cannot work on") {
  const Output<float> a(8);
  const Output<double> out(2);
  check_refused([&] { table().reduce_dot({0, 4, a, nullptr, out}, stream()); }, {"reduce_dot", "n is 0"});
  check_refused([&] { table().reduce_dot({2, 0, a, nullptr, out}, stream()); }, {"count is 0"});
  check_refused([&] { table().reduce_dot({2, 4, nullptr, a, out}, stream()); }, {"a is null"});
  check_refused([&] { table().reduce_dot({2, 4, a, nullptr, nullptr}, stream()); }, {"out is null"});
}
