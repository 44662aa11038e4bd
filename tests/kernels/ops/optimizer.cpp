#include <cmath>

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

std::vector<double> doubles(const Floats& v) {
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("sgd_step over five steps is torch.optim.SGD's formula") {
  struct Case {
    int count;
    float momentum, decay;
    bool nesterov, scaled, velocity;
  };
  for (const Case& c : {Case{1, 0, 0, false, false, false}, Case{1027, 0.9f, 0.01f, true, true, true},
                        Case{4096, 0.5f, 0, false, false, true}, Case{333, 0, 0.1f, false, true, true}}) {
    CAPTURE(c.count);
    const Floats start = random_floats(c.count, 1);
    std::vector<double> w = doubles(start), v(w.size());
    for (int step = 0; step < 5; ++step) {
      const auto dw = doubles(random_floats(c.count, unsigned(10 + step)));
      for (std::size_t i = 0; i < w.size(); ++i) {
        const double g = (c.scaled ? 0.25 : 1) * dw[i] + double(c.decay) * w[i];
        v[i] = double(c.momentum) * v[i] + g;
        w[i] -= double(0.1f) * (c.nesterov ? g + double(c.momentum) * v[i] : c.velocity ? v[i] : g);
      }
    }
    const Floats got = run_all_ways(1, [&](int, int) {
                         const Input<float> at(start), velocity(Floats(start.size())), scale(Floats{0.25f});
                         for (int step = 0; step < 5; ++step) {
                           const Input<float> dw(random_floats(c.count, unsigned(10 + step)));
                           kernels::SgdStep a{.count = c.count, .rate = 0.1f, .momentum = c.momentum};
                           a.weight_decay = c.decay;
                           a.nesterov = c.nesterov;
                           if (c.scaled) a.scale = scale;
                           a.dw = dw;
                           if (c.velocity) a.velocity = velocity;
                           a.w = at;
                           table().sgd_step(a, stream());
                         }
                         Floats all = at.to_host();
                         if (c.velocity) {
                           const Floats more = velocity.to_host();
                           all.insert(all.end(), more.begin(), more.end());
                         }
                         return Results{.y = all};
                       }).y;
    std::vector<double> want = w;
    if (c.velocity) want.insert(want.end(), v.begin(), v.end());
    // Five steps of a few roundings of values up to 4.
    CHECK_CLOSE(got, want, 3e-6, 1e-6);
  }
}

TEST_CASE("adamw_step over five steps is torch.optim.AdamW's formula") {
  for (const bool scaled : {false, true}) {
    const int count = 1031;
    const Floats start = random_floats(count, 1);
    const double b1 = double(0.9f), b2 = double(0.999f), rate = double(0.01f), decay = double(0.05f),
                 eps = double(1e-8f);
    std::vector<double> w = doubles(start), m(w.size()), s(w.size());
    for (int t = 1; t <= 5; ++t) {
      const auto dw = doubles(random_floats(count, unsigned(10 + t)));
      for (std::size_t i = 0; i < w.size(); ++i) {
        const double g = (scaled ? 0.25 : 1) * dw[i];
        w[i] *= 1 - rate * decay;
        m[i] = b1 * m[i] + (1 - b1) * g;
        s[i] = b2 * s[i] + (1 - b2) * g * g;
        w[i] -=
            rate / (1 - std::pow(b1, t)) * m[i] / (std::sqrt(s[i]) / std::sqrt(1 - std::pow(b2, t)) + eps);
      }
    }
    const Floats got = run_all_ways(1, [&](int, int) {
                         const Input<float> at(start), first(Floats(start.size())),
                             second(Floats(start.size())), scale(Floats{0.25f});
                         for (int t = 1; t <= 5; ++t) {
                           const Input<float> dw(random_floats(count, unsigned(10 + t)));
                           kernels::AdamWStep a{.count = count, .step = t, .rate = 0.01f};
                           a.weight_decay = 0.05f;
                           if (scaled) a.scale = scale;
                           a.dw = dw;
                           a.first = first;
                           a.second = second;
                           a.w = at;
                           table().adamw_step(a, stream());
                         }
                         return Results{.y = at.to_host()};
                       }).y;
    // 1 − β2 in float is 1e-3 with an error of 6e-8 / 1e-3: 5e-5 of √s, of a move of 0.01 a step.
    CHECK_CLOSE(got, w, 5e-6, 1e-6);
  }
}

TEST_CASE("sum_squares and clip_scale") {
  for (const int count : {1, 5, 1000, 65535, 65536, 65537, 200003}) {
    for (const int offset : {0, 1}) {
      CAPTURE(count);
      const Floats x = random_floats(count + offset, 2);
      double want = 0;
      for (std::size_t i = std::size_t(offset); i < x.size(); ++i) want += double(x[i]) * double(x[i]);
      const int partials = kernels::sum_squares_partials(count);
      CHECK(partials == (count + 65535) / 65536);
      const auto run = [&](float most) {
        const Input<float> in(x);
        const Output<double> partial(partials);
        const Output<float> norm(1), scale(1);
        table().sum_squares({count, in + offset, partial}, stream());
        table().clip_scale({partials, partial, most, norm, scale}, stream());
        return Results{.y = {norm.to_host()[0], scale.to_host()[0]}, .sums = partial.to_host()};
      };
      const Floats any = run_all_ways(1, [&](int, int) { return run(0); }).y;
      // Double sums, then a float.
      CHECK(any[0] == doctest::Approx(std::sqrt(want)).epsilon(1e-7));
      CHECK(any[1] == 1);
      const float half = float(std::sqrt(want)) / 2;
      CHECK(run(half).y[1] == doctest::Approx(0.5).epsilon(1e-5));
      CHECK(run(4 * half).y[1] == 1);
    }
  }
  for (const float bad : {nan_value, infinity}) {
    Floats x(300, 1);
    x[17] = bad;
    const Input<float> in(x);
    const Output<double> partial(1);
    const Output<float> norm(1), scale(1);
    table().sum_squares({300, in, partial}, stream());
    table().clip_scale({1, partial, 1, norm, scale}, stream());
    CHECK(!std::isfinite(norm.to_host()[0]));
    CHECK(std::isnan(scale.to_host()[0]));
  }
}

TEST_CASE("optimizer steps refuse what they cannot work on") {
  const Output<float> w(8), dw(8), first(8), second(8), one(1), two(1);
  const Output<double> partial(2);
  const auto sgd = [&](auto change) {
    kernels::SgdStep a{.count = 8, .rate = 0.1f, .momentum = 0.9f};
    a.dw = dw;
    a.velocity = first;
    a.w = w;
    change(a);
    return [a] { table().sgd_step(a, stream()); };
  };
  sgd([](auto&) {})();
  check_refused(sgd([](auto& a) { a.count = 0; }), {"sgd_step", "count is 0"});
  check_refused(sgd([](auto& a) { a.w = nullptr; }), {"w is null"});
  check_refused(sgd([](auto& a) { a.dw = nullptr; }), {"dw is null"});
  check_refused(sgd([](auto& a) { a.velocity = nullptr; }), {"velocity is null", "momentum"});
  check_refused(sgd([&](auto& a) { a.velocity = w; }), {"w", "memory of velocity"});
  check_refused(sgd([&](auto& a) { a.w = dw + 1; }), {"w", "memory of dw"});
  check_refused(sgd([&](auto& a) { a.scale = w; }), {"w", "memory of scale"});
  const auto adam = [&](auto change) {
    kernels::AdamWStep a{.count = 8, .step = 1, .rate = 0.1f};
    a.dw = dw;
    a.first = first;
    a.second = second;
    a.w = w;
    change(a);
    return [a] { table().adamw_step(a, stream()); };
  };
  adam([](auto&) {})();
  check_refused(adam([](auto& a) { a.step = 0; }), {"adamw_step", "step is 0", "at least 1"});
  check_refused(adam([](auto& a) { a.beta1 = 1; }), {"beta", "0 to below 1"});
  check_refused(adam([](auto& a) { a.first = nullptr; }), {"first is null"});
  check_refused(adam([](auto& a) { a.second = nullptr; }), {"second is null"});
  check_refused(adam([&](auto& a) { a.second = first; }), {"first", "memory of second"});
  check_refused([&] { table().sum_squares({0, w, partial}, stream()); }, {"sum_squares", "count is 0"});
  check_refused([&] { table().sum_squares({8, nullptr, partial}, stream()); }, {"x is null"});
  check_refused([&] { table().sum_squares({8, w, nullptr}, stream()); }, {"partial is null"});
  check_refused(
      [&] {
        table().clip_scale({0, partial, 1, one, two}, stream());
      },
      {"clip_scale", "partials is 0"});
  check_refused([&] { table().clip_scale({1, partial, -1, one, two}, stream()); }, {"max_norm", "0 or more"});
  check_refused(
      [&] {
        table().clip_scale({1, partial, 1, one, one}, stream());
      },
      {"norm", "memory of scale"});
}
