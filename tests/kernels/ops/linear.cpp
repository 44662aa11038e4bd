#include "tests/reference/linear.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using kernels::Part;

namespace {

struct LinearShape {
  int n, c, k;
};
// Single values; tails of the warp (32), of the 8 outputs of a warp, of the 64 channels of a block; batches
// below, at and above the 4 images of a warp.
const LinearShape shapes[] = {{1, 1, 1},   {1, 7, 5},    {2, 32, 8},   {3, 33, 9}, {1, 64, 1000},
                              {4, 70, 17}, {5, 517, 10}, {7, 128, 65}, {8, 16, 32}};

struct FpropOptions {
  Part part;
  float alpha;
  bool bias, residual, relu, mask, in_place;
};
const FpropOptions fprop_options[] = {
    {Part::all, 1, false, false, false, false, false},
    {Part::all, 1, true, false, true, true, false},
    {Part::positive, 0.5f, true, true, true, true, false},
    {Part::negative, -2, false, true, true, false, true},
    {Part::all, 1.5f, true, true, true, true, true},
};

// Products of values up to 1, c of them, added by 32 lanes and a tree of 5: c / 32 + 5 roundings of sums that
// stay below c / 4, and a few for alpha, bias and residual.
double fprop_tolerance(int terms) {
  return 6e-8 * (terms / 32 + 8) * (terms / 4.0 + 4);
}

}  // namespace

TEST_CASE("linear_fprop") {
  for (const auto& [n, c, k] : shapes) {
    for (const FpropOptions& o : fprop_options) {
      CAPTURE(n);
      CAPTURE(c);
      CAPTURE(k);
      CAPTURE(int(&o - fprop_options));
      const Floats x = random_floats(1LL * n * c, 1), w = random_floats(1LL * k * c, 2);
      const Floats bias = o.bias ? random_floats(k, 3) : Floats();
      const Floats residual = o.residual ? random_floats(1LL * n * k, 4) : Floats();
      const auto run = [&, n = n, c = c, k = k](int first, int count) {
        const Input<float> device_x(x, n, first, count), device_w(w), device_bias(bias);
        const Input<float> device_residual(residual, n, first, count);
        const Output<float> y(1LL * count * k);
        const Output<std::uint8_t> mask(1LL * count * kernels::mask_pitch(k));
        kernels::LinearFprop a;
        a.n = count;
        a.c = c;
        a.k = k;
        a.x = device_x;
        a.part = o.part;
        a.w = device_w;
        a.alpha = o.alpha;
        a.bias = device_bias;
        a.residual = device_residual;
        a.relu = o.relu;
        a.y = o.in_place ? static_cast<float*>(device_residual) : static_cast<float*>(y);
        if (o.mask) a.relu_mask = mask;
        table().linear_fprop(a, stream());
        return Results{.y = o.in_place ? device_residual.to_host() : y.to_host(),
                       .mask = o.mask ? mask.to_host() : Bytes()};
      };
      const Results got = run_all_ways(n, run);
      reference::Values want = reference::linear(n, c, k, x, o.part, w, o.alpha, bias, residual);
      if (o.relu) reference::relu(want);
      CHECK_CLOSE(got.y, want, fprop_tolerance(c), 1e-6);
      // The bits follow the values the kernel itself wrote.
      if (o.mask) {
        CHECK_SAME_BITS(got.mask,
                        reference::mask_of(reference::Values(got.y.begin(), got.y.end()), std::size_t(k)));
      }
    }
  }
}

TEST_CASE("linear_dgrad") {
  struct Options {
    Part part;
    float alpha, epsilon;
    bool factor, denominator, multiply, pending, mask, in_place;
  };
  const Options options[] = {
      {Part::all, 1, 0, false, false, false, false, false, false},
      {Part::all, 1, 0, false, false, false, true, true, false},
      {Part::positive, 0.5f, 1e-6f, true, true, true, true, true, true},
      {Part::negative, -2, 0.1f, false, true, true, false, true, false},
      {Part::all, 1, 0, true, false, true, true, false, true},
  };
  for (const auto& [n, c, k] : shapes) {
    for (const Options& o : options) {
      CAPTURE(n);
      CAPTURE(c);
      CAPTURE(k);
      CAPTURE(int(&o - options));
      const Floats dy = random_floats(1LL * n * k, 1), w = random_floats(1LL * k * c, 2);
      const Floats factor = o.factor ? random_floats(1LL * n * k, 3) : Floats();
      // Away from 0, so that quotients stay of the size of the rest.
      const Floats denominator = o.denominator ? random_floats(1LL * n * k, 4, 0.5f, 2) : Floats();
      const Floats multiply = o.multiply ? random_floats(1LL * n * c, 5) : Floats();
      const Floats pending = o.pending ? random_floats(1LL * n * c, 6) : Floats();
      const Bytes mask = o.mask ? random_mask(n, c, 7) : Bytes();
      const auto run = [&, n = n, c = c, k = k](int first, int count) {
        const Input<float> device_dy(dy, n, first, count), device_factor(factor, n, first, count);
        const Input<float> device_denominator(denominator, n, first, count), device_w(w);
        const Input<float> device_multiply(multiply, n, first, count),
            device_pending(pending, n, first, count);
        const Input<std::uint8_t> device_mask(mask, n, first, count);
        const Output<float> dx(1LL * count * c);
        kernels::LinearDgrad a;
        a.n = count;
        a.c = c;
        a.k = k;
        a.dy = {device_dy, device_factor, device_denominator, o.epsilon};
        a.w = device_w;
        a.alpha = o.alpha;
        a.multiply = device_multiply;
        a.part = o.part;
        a.epilogue = {device_pending, device_mask};
        a.dx = o.in_place ? static_cast<float*>(device_pending) : static_cast<float*>(dx);
        table().linear_dgrad(a, stream());
        return Results{.y = o.in_place ? device_pending.to_host() : dx.to_host()};
      };
      const Results got = run_all_ways(n, run);
      reference::Values want = reference::linear_dgrad(
          n, c, k, reference::load(dy, factor, denominator, o.epsilon), w, o.alpha, multiply, o.part);
      reference::finish(want, pending, mask, std::size_t(c));
      // 8 warps add k / 8 terms of at most 2 each (signal 1, denominator 0.5), times alpha 2.
      CHECK_CLOSE(got.y, want, 6e-8 * (k / 8 + 12) * (k + 4), 1e-6);
    }
  }
}

TEST_CASE("linear launchers refuse what they cannot work on") {
  const Output<float> x(32), w(32), y(32);
  const Output<std::uint8_t> mask(8);
  kernels::LinearFprop f;
  f.n = 2;
  f.c = 4;
  f.k = 8;
  f.x = x;
  f.w = w;
  f.y = y;
  const auto fprop = [&](auto change) {
    kernels::LinearFprop changed = f;
    change(changed);
    return [changed] { table().linear_fprop(changed, stream()); };
  };
  fprop([](auto&) {})();
  check_refused(fprop([](auto& a) { a.x = nullptr; }),
                {"linear_fprop", "x is null", "expected device memory"});
  check_refused(fprop([](auto& a) { a.w = nullptr; }), {"w is null"});
  check_refused(fprop([](auto& a) { a.y = nullptr; }), {"y is null"});
  check_refused(fprop([](auto& a) { a.n = 0; }), {"n is 0", "at least 1"});
  check_refused(fprop([](auto& a) { a.c = -3; }), {"c is -3"});
  check_refused(fprop([](auto& a) { a.k = 0; }), {"k is 0"});
  check_refused(fprop([](auto& a) { a.n = a.c = 2000000000; }), {"size of x"});
  check_refused(fprop([&](auto& a) { a.relu_mask = mask; }), {"relu_mask", "without relu"});
  check_refused(fprop([&](auto& a) { a.y = x; }), {"y", "memory of x"});
  check_refused(fprop([&](auto& a) { a.residual = a.y + 1; }), {"y", "memory of residual"});

  kernels::LinearDgrad d;
  d.n = 2;
  d.c = 4;
  d.k = 8;
  d.dy.signal = x;
  d.w = w;
  d.dx = y;
  const auto dgrad = [&](auto change) {
    kernels::LinearDgrad changed = d;
    change(changed);
    return [changed] { table().linear_dgrad(changed, stream()); };
  };
  dgrad([](auto&) {})();
  check_refused(dgrad([](auto& a) { a.dy.signal = nullptr; }), {"linear_dgrad", "dy.signal is null"});
  check_refused(dgrad([](auto& a) { a.dy.epsilon = -1; }), {"dy.epsilon is -1", "0 or more"});
  check_refused(dgrad([](auto& a) { a.w = nullptr; }), {"w is null"});
  check_refused(dgrad([](auto& a) { a.dx = nullptr; }), {"dx is null"});
  check_refused(dgrad([&](auto& a) { a.dx = x; }), {"dx", "memory of dy.signal"});
  check_refused(dgrad([](auto& a) { a.epilogue.pending = a.dx + 1; }), {"dx", "memory of epilogue.pending"});
}
