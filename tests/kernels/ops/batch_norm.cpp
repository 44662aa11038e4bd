#include "tests/reference/batch_norm.h"

#include <cmath>

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

struct NormShape {
  int pixels, c;
};
// The fewest pixels; odd ones; one slice of 512 and two, several; channels that are and are not whole mask bytes and
// 16-byte loads, one block of 32 and more.
const NormShape shapes[] = {{2, 1},    {3, 3},     {7, 5},     {31, 8}, {512, 4},
                        {513, 12}, {1030, 33}, {5000, 16}, {97, 64}};

reference::Values doubles(const Floats& v) {
  return {v.begin(), v.end()};
}

struct Forward {
  Floats y, mean, inverse_std, running_mean, running_var;
  Bytes mask;
};

struct Extras {
  bool residual = false, relu = false, in_place = false;
};

struct Data {
  Data(const NormShape& s, float mean)
      : x(random_floats(1LL * s.pixels * s.c, 1, mean - 1, mean + 1)),
        weight(random_floats(s.c, 2, 0.5f, 1.5f)),
        bias(random_floats(s.c, 3)),
        residual(random_floats(1LL * s.pixels * s.c, 4)),
        running_mean(random_floats(s.c, 5)),
        running_var(random_floats(s.c, 6, 0.5f, 2)) {}
  Floats x, weight, bias, residual, running_mean, running_var;
};

Forward forward(const NormShape& s, const Data& d, const Extras& e) {
  const long long count = 1LL * s.pixels * s.c;
  const Input<float> x(d.x), weight(d.weight), bias(d.bias), residual(d.residual),
      running_mean(d.running_mean), running_var(d.running_var);
  const Output<float> y(count), mean(s.c), inverse(s.c),
      workspace(kernels::batch_norm_workspace(s.pixels, s.c));
  const Output<std::uint8_t> mask(1LL * s.pixels * kernels::mask_pitch(s.c));
  kernels::BatchNormFprop a;
  a.pixels = s.pixels;
  a.c = s.c;
  a.x = x;
  a.weight = weight;
  a.bias = bias;
  if (e.residual) a.residual = residual;
  a.relu = e.relu;
  a.running_mean = running_mean;
  a.running_var = running_var;
  a.mean = mean;
  a.inverse_std = inverse;
  a.y = e.in_place ? static_cast<float*>(residual) : static_cast<float*>(y);
  if (e.relu) a.relu_mask = mask;
  a.workspace = workspace;
  table().batch_norm_fprop(a, stream());
  return {e.in_place ? residual.to_host() : y.to_host(),
          mean.to_host(),
          inverse.to_host(),
          running_mean.to_host(),
          running_var.to_host(),
          e.relu ? mask.to_host() : Bytes()};
}

}  // namespace

TEST_CASE("batch_norm_fprop") {
  for (const NormShape& s : shapes) {
    for (const Extras& e :
         {Extras{}, Extras{true, true, false}, Extras{true, false, true}, Extras{false, true, false}}) {
      CAPTURE(s.pixels);
      CAPTURE(s.c);
      CAPTURE(e.residual);
      CAPTURE(e.relu);
      const Data d(s, 0);
      Forward got;
      run_all_ways(1, [&](int, int) {
        got = forward(s, d, e);
        Floats all = got.y;
        for (const Floats* more : {&got.mean, &got.inverse_std, &got.running_mean, &got.running_var}) {
          all.insert(all.end(), more->begin(), more->end());
        }
        return Results{.y = all, .mask = got.mask};
      });
      auto want =
          reference::batch_norm(s.pixels, s.c, doubles(d.x), doubles(d.weight), doubles(d.bias), 1e-5);
      Floats running_mean = d.running_mean, running_var = d.running_var;
      for (std::size_t j = 0; j < std::size_t(s.c); ++j) {
        running_mean[j] = float(0.9 * double(running_mean[j]) + 0.1 * want.mean[j]);
        running_var[j] = float(0.9 * double(running_var[j]) + 0.1 * want.unbiased[j]);
      }
      for (std::size_t i = 0; i < want.y.size(); ++i) {
        if (e.residual) want.y[i] += double(d.residual[i]);
        if (e.relu) want.y[i] = std::max(want.y[i], 0.0);
      }
      // Sums are made in double: what is left is the rounding of statistics and results to float, 6e-8 of values up
      // to 3 a step; with two or three pixels the deviation may be small and its inverse large.
      CHECK_CLOSE(got.y, want.y, s.pixels < 8 ? 3e-5 : 2e-6, 1e-6);
      CHECK_CLOSE(got.mean, want.mean, 1e-7, 1e-6);
      CHECK(compare(got.inverse_std, want.inverse_std).relative_rms < 1e-7);
      CHECK_CLOSE(got.running_mean, running_mean, 2e-7, 1e-6);
      CHECK_CLOSE(got.running_var, running_var, 2e-7, 1e-6);
      if (!e.relu) continue;
      const int pitch = kernels::mask_pitch(s.c);
      for (int p = 0; p < s.pixels; ++p) {
        for (int j = 0; j < pitch * 8; ++j) {
          const bool bit = got.mask[std::size_t(p * pitch + j / 8)] >> (j % 8) & 1;
          REQUIRE(bit == (j < s.c && got.y[std::size_t(p * s.c + j)] > 0));
        }
      }
    }
  }
}

TEST_CASE("batch_norm_fprop with a mean a hundred times the deviation") {
  const NormShape s{3000, 8};
  const Data d(s, 100);
  const Forward got = forward(s, d, {});
  const auto want =
      reference::batch_norm(s.pixels, s.c, doubles(d.x), doubles(d.weight), doubles(d.bias), 1e-5);
  // Squares of 1e4 with a variance of 1/3 between them: float sums would lose all of it, double ones nothing. The mean
  // itself is a float, 4e-6 off at 100, of a deviation of 0.58.
  CHECK(compare(got.inverse_std, want.inverse_std).relative_rms < 1e-6);
  CHECK(compare(got.y, want.y).relative_rms < 2e-5);
}

TEST_CASE("the reference's own gradient is the slope of its forward pass") {
  const NormShape s{5, 3};
  const Data d(s, 0);
  const auto x = doubles(d.x), weight = doubles(d.weight), bias = doubles(d.bias);
  const auto dy = doubles(random_floats(15, 9));
  const auto loss = [&](const reference::Values& at, const reference::Values& w, const reference::Values& b) {
    const auto y = reference::batch_norm(s.pixels, s.c, at, w, b, 1e-5).y;
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  const auto g = reference::batch_norm_backward(s.pixels, s.c, x, dy, weight,
                                                reference::batch_norm(s.pixels, s.c, x, weight, bias, 1e-5));
  const auto slope = [&](reference::Values v, std::size_t i, auto at) {
    v[i] += 1e-5;
    const double up = at(v);
    v[i] -= 2e-5;
    return (up - at(v)) / 2e-5;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    CHECK(g.dx[i] ==
          doctest::Approx(slope(x, i, [&](const auto& v) { return loss(v, weight, bias); })).epsilon(1e-5));
  }
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(g.dweight[i] == doctest::Approx(slope(weight, i, [&](const auto& v) { return loss(x, v, bias); })));
    CHECK(g.dbias[i] == doctest::Approx(slope(bias, i, [&](const auto& v) { return loss(x, weight, v); })));
  }
}

TEST_CASE("batch_norm_backward") {
  for (const NormShape& s : shapes) {
    for (const int kind : {0, 1, 2, 3}) {  // plain; in place of dy; accumulated, with pending and mask; no dx
      CAPTURE(s.pixels);
      CAPTURE(s.c);
      CAPTURE(kind);
      const Data d(s, 0.3f);
      const long long count = 1LL * s.pixels * s.c;
      const auto stats =
          reference::batch_norm(s.pixels, s.c, doubles(d.x), doubles(d.weight), doubles(d.bias), 1e-5);
      const Floats mean(stats.mean.begin(), stats.mean.end()),
          inverse(stats.inverse_std.begin(), stats.inverse_std.end());
      const Floats host_dy = random_floats(count, 7), pending = random_floats(count, 8);
      const Floats before_w = random_floats(s.c, 9), before_b = random_floats(s.c, 10);
      const Bytes host_mask = random_mask(s.pixels, s.c, 11);
      const auto run = [&](int, int) {
        const Input<float> x(d.x), dy(host_dy), weight(d.weight), m(mean), i(inverse), p(pending),
            w(before_w), b(before_b);
        const Input<std::uint8_t> mask(host_mask);
        const Output<float> dx(count), workspace(kernels::batch_norm_workspace(s.pixels, s.c));
        kernels::BatchNormBackward a;
        a.pixels = s.pixels;
        a.c = s.c;
        a.x = x;
        a.dy = dy;
        a.weight = weight;
        a.mean = m;
        a.inverse_std = i;
        a.accumulate = kind == 2;
        a.dweight = w;
        a.dbias = b;
        if (kind == 2) a.epilogue = {p, mask};
        a.dx = kind == 3 ? nullptr : kind == 1 ? static_cast<float*>(dy) : static_cast<float*>(dx);
        a.workspace = workspace;
        table().batch_norm_backward(a, stream());
        Floats all = kind == 3 ? Floats() : kind == 1 ? dy.to_host() : dx.to_host();
        for (const Floats& more : {w.to_host(), b.to_host()}) all.insert(all.end(), more.begin(), more.end());
        return Results{.y = all};
      };
      const Floats got = run_all_ways(1, run).y;
      auto want = reference::batch_norm_backward(s.pixels, s.c, doubles(d.x), doubles(host_dy),
                                                 doubles(d.weight), stats);
      if (kind == 2) {
        for (std::size_t j = 0; j < std::size_t(s.c); ++j) {
          want.dweight[j] += double(before_w[j]);
          want.dbias[j] += double(before_b[j]);
        }
        for (int p = 0; p < s.pixels; ++p) {
          for (int j = 0; j < s.c; ++j) {
            const std::size_t at = std::size_t(p * s.c + j);
            const bool open = host_mask[std::size_t(p * kernels::mask_pitch(s.c) + j / 8)] >> (j % 8) & 1;
            want.dx[at] = open ? want.dx[at] + double(pending[at]) : 0;
          }
        }
      }
      reference::Values all = kind == 3 ? reference::Values() : want.dx;
      all.insert(all.end(), want.dweight.begin(), want.dweight.end());
      all.insert(all.end(), want.dbias.begin(), want.dbias.end());
      // Sums in double of floats; statistics rounded to float, and differences of values up to 1 times an inverse
      // deviation that two or three pixels can make large.
      CHECK_CLOSE(got, all, s.pixels < 8 ? 2e-4 : 3e-5, 2e-6);
    }
  }
}

TEST_CASE("batch_norm refuses what it cannot work on") {
  const Output<float> x(32), y(32), dy(32), c1(8), c2(8), c3(8), c4(8), c5(8), c6(8), workspace(200);
  const Output<std::uint8_t> mask(32);
  kernels::BatchNormFprop f;
  f.pixels = 4;
  f.c = 8;
  f.x = x;
  f.weight = c1;
  f.bias = c2;
  f.mean = c3;
  f.inverse_std = c4;
  f.y = y;
  f.workspace = workspace;
  const auto forward_with = [&](auto change) {
    kernels::BatchNormFprop a = f;
    change(a);
    return [a] { table().batch_norm_fprop(a, stream()); };
  };
  forward_with([](auto&) {})();
  check_refused(forward_with([](auto& a) { a.pixels = 1; }),
                {"batch_norm_fprop", "pixels is 1", "at least 2"});
  check_refused(forward_with([](auto& a) { a.c = 0; }), {"c is 0"});
  check_refused(forward_with([](auto& a) { a.x = nullptr; }), {"x is null"});
  check_refused(forward_with([](auto& a) { a.weight = nullptr; }), {"weight is null"});
  check_refused(forward_with([](auto& a) { a.bias = nullptr; }), {"bias is null"});
  check_refused(forward_with([](auto& a) { a.mean = nullptr; }), {"mean is null"});
  check_refused(forward_with([](auto& a) { a.inverse_std = nullptr; }), {"inverse_std is null"});
  check_refused(forward_with([](auto& a) { a.y = nullptr; }), {"y is null"});
  check_refused(forward_with([](auto& a) { a.workspace = nullptr; }), {"workspace is null"});
  check_refused(forward_with([](auto& a) { a.workspace += 1; }), {"workspace", "8 bytes"});
  check_refused(forward_with([](auto& a) { a.epsilon = 0; }), {"epsilon", "above 0"});
  check_refused(forward_with([](auto& a) { a.momentum = 1.5f; }), {"momentum", "0 to 1"});
  check_refused(forward_with([&](auto& a) { a.running_mean = c5; }),
                {"running_var is null", "both or neither"});
  check_refused(forward_with([&](auto& a) { a.relu_mask = mask; }), {"relu_mask", "without relu"});
  check_refused(forward_with([&](auto& a) { a.y = x; }), {"y", "memory of x"});
  check_refused(forward_with([&](auto& a) { a.residual = y + 8; }), {"y", "memory of residual"});
  kernels::BatchNormBackward b;
  b.pixels = 4;
  b.c = 8;
  b.x = x;
  b.dy = dy;
  b.weight = c1;
  b.mean = c2;
  b.inverse_std = c3;
  b.dweight = c4;
  b.dbias = c5;
  b.dx = y;
  b.workspace = workspace;
  const auto backward_with = [&](auto change) {
    kernels::BatchNormBackward a = b;
    change(a);
    return [a] { table().batch_norm_backward(a, stream()); };
  };
  backward_with([](auto&) {})();
  check_refused(backward_with([](auto& a) { a.pixels = 1; }), {"batch_norm_backward", "pixels is 1"});
  check_refused(backward_with([](auto& a) { a.dy = nullptr; }), {"dy is null"});
  check_refused(backward_with([](auto& a) { a.dweight = nullptr; }), {"dweight is null"});
  check_refused(backward_with([](auto& a) { a.dbias = nullptr; }), {"dbias is null"});
  check_refused(backward_with([](auto& a) { a.workspace = nullptr; }), {"workspace is null"});
  check_refused(backward_with([&](auto& a) { a.dx = x; }), {"dx", "memory of x"});
  check_refused(backward_with([&](auto& a) { a.dx = dy + 1; }), {"dx", "memory of dy"});
  check_refused(backward_with([&](auto& a) { a.dbias = c4; }), {"dweight", "memory of dbias"});
  check_refused(backward_with([&](auto& a) { a.dweight = c1; }), {"dweight", "memory of weight"});
  CHECK(kernels::batch_norm_workspace(512, 3) == 2 * 4 * 3);
}
