#include "tests/reference/optimizer.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using reference::Values;

namespace {

constexpr int steps = 5;
// Tails of a thread's 4 elements and of a block's 1024.
const int counts[] = {1, 3, 4, 7, 1023, 1024, 1030, 4097};

Floats joined(std::initializer_list<Floats> parts) {
  Floats all;
  for (const Floats& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
Floats part(const Floats& of, std::size_t index, std::size_t parts) {
  const auto each = std::ptrdiff_t(of.size() / parts), first = std::ptrdiff_t(index) * each;
  return {of.begin() + first, of.begin() + first + each};
}
// The gradient of step t. Some are 0, and some so small that AdamW's epsilon counts.
Floats gradient(int count, int t) {
  Floats dw = random_floats(count, unsigned(10 + t), -2, 2);
  for (std::size_t i = 3; i < dw.size(); i += 5) dw[i] *= 1e-8f;
  for (std::size_t i = 4; i < dw.size(); i += 11) dw[i] = 0;
  return dw;
}

struct Sgd {
  const char* name;
  float momentum, weight_decay;
  bool nesterov, scaled, velocity;
};
const Sgd sgds[] = {
    {"plain", 0, 0, false, false, false},      {"decay", 0, 0.1f, false, false, false},
    {"scale", 0, 0.1f, false, true, false},    {"a velocity without momentum", 0, 0.1f, false, true, true},
    {"momentum", 0.9f, 0, false, false, true}, {"momentum, decay, scale", 0.9f, 0.1f, false, true, true},
    {"Nesterov", 0.9f, 0, true, false, true},  {"Nesterov, decay, scale", 0.8f, 0.1f, true, true, true}};
constexpr float gradient_scale = 0.3f;

}  // namespace

TEST_CASE("sgd_step: five steps") {
  for (const Sgd& kind : sgds) {
    for (const int count : counts) {
      CAPTURE(kind.name);
      CAPTURE(count);
      const Floats start = random_floats(count, 1);
      kernels::SgdStep a;
      a.count = count;
      a.rate = 0.1f;
      a.momentum = kind.momentum;
      a.weight_decay = kind.weight_decay;
      a.nesterov = kind.nesterov;
      const Floats got = run_all_ways(1, [&](int, int) {
                           const Input<float> w(start), velocity(Floats(start.size(), 0)),
                               scale({gradient_scale});
                           for (int t = 1; t <= steps; ++t) {
                             const Input<float> dw(gradient(count, t));
                             kernels::SgdStep step = a;
                             if (kind.scaled) step.scale = scale;
                             step.dw = dw;
                             if (kind.velocity) step.velocity = velocity;
                             step.w = w;
                             table().sgd_step(step, stream());
                           }
                           return Results{.y = joined({w.to_host(), velocity.to_host()})};
                         }).y;
      Values w(start.begin(), start.end()), buffer;
      for (int t = 1; t <= steps; ++t) {
        reference::sgd(a, kind.scaled ? double(gradient_scale) : 1, gradient(count, t), buffer, w);
      }
      // A step moves w, up to 4, by 0.1 of up to 16: three roundings of 2^-24 of 4 each, five times.
      CHECK_CLOSE(part(got, 0, 2), w, 2e-6, 1e-6);
      // A velocity is the sum of five such g.
      if (kind.momentum != 0) CHECK_CLOSE(part(got, 1, 2), buffer, 4e-6, 1e-6);
    }
  }
}

TEST_CASE("adamw_step: five steps") {
  struct Kind {
    float beta1, beta2, epsilon, weight_decay;
    bool scaled;
  };
  for (const Kind& kind : {Kind{0.9f, 0.999f, 1e-8f, 0, false}, Kind{0.9f, 0.999f, 1e-8f, 0.5f, true},
                           Kind{0.5f, 0.9f, 0.1f, 0.1f, false}, Kind{0, 0, 1e-3f, 0, false}}) {
    for (const int count : counts) {
      CAPTURE(kind.beta1);
      CAPTURE(kind.weight_decay);
      CAPTURE(count);
      const Floats start = random_floats(count, 1);
      kernels::AdamWStep a;
      a.count = count;
      a.rate = 0.1f;
      a.beta1 = kind.beta1;
      a.beta2 = kind.beta2;
      a.epsilon = kind.epsilon;
      a.weight_decay = kind.weight_decay;
      const Floats got = run_all_ways(1, [&](int, int) {
                           const Input<float> w(start), first(Floats(start.size(), 0)),
                               second(Floats(start.size(), 0)), scale({gradient_scale});
                           for (int t = 1; t <= steps; ++t) {
                             const Input<float> dw(gradient(count, t));
                             kernels::AdamWStep step = a;
                             step.step = t;
                             if (kind.scaled) step.scale = scale;
                             step.dw = dw;
                             step.first = first;
                             step.second = second;
                             step.w = w;
                             table().adamw_step(step, stream());
                           }
                           return Results{.y = joined({w.to_host(), first.to_host(), second.to_host()})};
                         }).y;
      Values w(start.begin(), start.end()), first(w.size(), 0), second(w.size(), 0);
      for (int t = 1; t <= steps; ++t) {
        a.step = t;
        reference::adamw(a, kind.scaled ? double(gradient_scale) : 1, gradient(count, t), first, second, w);
      }
      // A step moves w by about 0.1: a quotient with a relative error of about 10 roundings, 6e-8 of itself; and w,
      // up to 1.5, is rounded twice. Five times.
      CHECK_CLOSE(part(got, 0, 3), w, 1.2e-6, 1e-6);
      // The moments are averages of values up to 2 and 4, each step rounded three times.
      CHECK_CLOSE(part(got, 1, 3), first, 1e-6, 1e-6);
      CHECK_CLOSE(part(got, 2, 3), second, 2e-6, 1e-6);
    }
  }
}

TEST_CASE("steps of more elements than the grid has threads for") {
  const int count = 4096 * 1024 + 1029;
  const Input<float> w(Floats(count, 1.0f)), dw(Floats(count, 0.25f));
  kernels::SgdStep s;
  s.count = count;
  s.rate = 1;
  s.dw = dw;
  s.w = w;
  table().sgd_step(s, stream());
  Floats now = w.to_host();
  CHECK(std::count(now.begin(), now.end(), 0.75f) == count);
  const Input<float> first(Floats(count, 0.0f)), second(Floats(count, 0.0f));
  kernels::AdamWStep a;
  a.count = count;
  a.rate = 0.5f;
  a.beta1 = a.beta2 = 0;
  a.epsilon = 0;
  a.dw = dw;
  a.first = first;
  a.second = second;
  a.w = w;
  table().adamw_step(a, stream());
  now = w.to_host();
  CHECK(std::count(now.begin(), now.end(), 0.25f) == count);  // g / |g| = 1, and every operation is exact
}

namespace {

std::vector<double> squares(const Floats& x, int offset) {
  Floats shifted = x;
  shifted.insert(shifted.begin(), std::size_t(offset), 3.0f);
  const auto count = std::ptrdiff_t(x.size());
  const Input<float> device_x(shifted);
  const Output<double> partial(kernels::sum_squares_partials(count));
  table().sum_squares({count, device_x + offset, partial}, stream());
  return partial.to_host();
}

struct Clip {
  float norm, scale;
};
Clip clip(const std::vector<double>& partials, float max_norm) {
  const Output<double> device_partials(std::ptrdiff_t(partials.size()));
  test_device().upload(device_partials, partials.data(), partials.size() * sizeof(double));
  const Output<float> norm(1), scale(1);
  const Results got = run_all_ways(1, [&](int, int) {
    kernels::ClipScale a;
    a.partials = int(partials.size());
    a.partial = device_partials;
    a.max_norm = max_norm;
    a.norm = norm;
    a.scale = scale;
    table().clip_scale(a, stream());
    return Results{.y = {norm.to_host()[0], scale.to_host()[0]}};
  });
  return {got.y[0], got.y[1]};
}

}  // namespace

TEST_CASE("sum_squares") {
  for (const int count : {1, 3, 4, 5, 1024, 1027, 65535, 65536, 65537, 131072, 200001}) {
    CAPTURE(count);
    const Floats x = random_floats(count, 1);
    std::vector<double> want((std::size_t(count) + 65535) / 65536, 0);
    for (std::size_t i = 0; i < x.size(); ++i) want[i / 65536] += double(x[i]) * double(x[i]);
    const Results got = run_all_ways(1, [&](int, int) { return Results{.y = {}, .sums = squares(x, 0)}; });
    // 65536 additions in double of values up to 1: at most 2^-53 · 65536 of the sum.
    CHECK_CLOSE(got.sums, want, 1e-7, 1e-11);
    for (const int offset : {1, 2, 3}) CHECK_SAME_BITS(squares(x, offset), got.sums);
  }
  CHECK(kernels::sum_squares_partials(1) == 1);
  CHECK(kernels::sum_squares_partials(65536) == 1);
  CHECK(kernels::sum_squares_partials(65537) == 2);
  CHECK(squares({1e30f, -1e30f}, 0)[0] == 2 * double(1e30f) * double(1e30f));  // beyond float32
  CHECK(std::isnan(squares({0, 1, nan_value}, 0)[0]));
}

TEST_CASE("clip_scale: norms and scales") {
  // One lane, less than a warp, one, more; a sum of squares of about 25.
  for (const std::size_t count : {1u, 2u, 31u, 32u, 33u, 1000u}) {
    CAPTURE(count);
    std::vector<double> partials;
    double sum = 0;
    for (const float v : random_floats(std::ptrdiff_t(count), 1, 20, 30)) {
      partials.push_back(double(v) / double(count));
      sum += partials.back();
    }
    const double norm = std::sqrt(sum);
    for (const float max_norm : {0.0f, 0.5f, 4.0f, 6.0f, 1e30f}) {
      CAPTURE(max_norm);
      const Clip got = clip(partials, max_norm);
      const double want = max_norm > 0 ? std::min(1.0, double(max_norm) / (norm + 1e-6)) : 1;
      CHECK(std::abs(double(got.norm) - norm) < 4e-7);  // half a unit in the last place of 5, rounded up
      CHECK(std::abs(double(got.scale) - want) < 2e-7);
      if (max_norm == 0 || max_norm > norm) CHECK(got.scale == 1);
    }
  }
  const Clip none = clip({0}, 1);
  CHECK(none.norm == 0);
  CHECK(none.scale == 1);
  // The 1e-6 of the formula.
  CHECK(std::abs(clip({1e-12}, 1e-6f).scale - 0.5f) < 1e-6f);
}

TEST_CASE("clip_scale: a norm that is not finite gives NaN, clipping or not") {
  for (const float max_norm : {0.0f, 1.0f}) {
    for (const double bad : {double(nan_value), double(infinity), 1e300}) {  // √1e300 is beyond float32
      const Clip got = clip({1, 2, bad}, max_norm);
      CHECK(!std::isfinite(got.norm));
      CHECK(std::isnan(got.scale));
    }
  }
}
