// What must hold whatever the reference says.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/common/compare.h"
#include "tests/common/few_cases.h"
#include "tests/kernels/conv/harness.h"

namespace retrace::conv_test {
namespace {

TEST_CASE("dgrad is the adjoint of fprop: <conv(x), dy> = <x, convT(dy)>") {
  if (few_cases()) return;  // the launches of the tests of shapes once more
  for (const auto& [why, shape] : shape_table()) {
    const auto x = random_floats(shape.input_size(), 71), w = random_floats(shape.weight_size(), 72);
    const auto dy = random_floats(shape.output_size(), 73);
    const double taps = double(shape.r) * shape.s;
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(kernels::conv_variant_name(variant));
      const std::vector<float> y = run(Fprop{.shape = shape, .x = x, .w = w}, variant).y;
      const std::vector<float> dx = run(Dgrad{.shape = shape, .dy = dy, .w = w}, variant);
      // Cauchy-Schwarz: an error e of y moves the product by at most ‖e‖ ‖dy‖.
      const double tolerance = rms_tolerance(taps * shape.c / shape.groups) * norm(y) * norm(dy) +
                               rms_tolerance(taps * shape.k / shape.groups) * norm(dx) * norm(x);
      CHECK(std::abs(dot(y, dy) - dot(x, dx)) <= tolerance);
    }
  }
}

TEST_CASE("both directions are linear") {
  // Whole numbers: 3 · conv(u) − 2 · conv(v) must equal conv(3u − 2v) exactly.
  const auto mix = [](const std::vector<float>& u, const std::vector<float>& v) {
    std::vector<float> sum(u.size());
    for (std::size_t i = 0; i < u.size(); ++i) sum[i] = 3 * u[i] - 2 * v[i];
    return sum;
  };
  const Conv2dShape shape{2, 9, 7, 20, 33, 5, 3, 3, 2, 2, 1};
  const auto w = whole_numbers(shape.weight_size(), -4, 4, 81);
  const auto x1 = whole_numbers(shape.input_size(), -4, 4, 82),
             x2 = whole_numbers(shape.input_size(), -4, 4, 83);
  const auto y1 = whole_numbers(shape.output_size(), -4, 4, 84),
             y2 = whole_numbers(shape.output_size(), -4, 4, 85);
  for (ConvVariant variant : variants) {
    CAPTURE(kernels::conv_variant_name(variant));
    const auto conv = [&](const std::vector<float>& x) {
      return run(Fprop{.shape = shape, .x = x, .w = w}, variant).y;
    };
    const auto transposed = [&](const std::vector<float>& dy) {
      return run(Dgrad{.shape = shape, .dy = dy, .w = w}, variant);
    };
    CHECK_CLOSE(conv(mix(x1, x2)), mix(conv(x1), conv(x2)), 0, 0);
    CHECK_CLOSE(transposed(mix(y1, y2)), mix(transposed(y1), transposed(y2)), 0, 0);
  }
}

TEST_CASE("finite differences through convolution, bias and ReLU") {
  // Sums are whole numbers and biases halves, so no pre-activation is closer than 1/2 to the kink; a step of
  // 1/16 with weights of at most 4 moves it by 1/4. Everything is a multiple of 1/16: the differences are
  // exact.
  const Conv2dShape shape{1, 4, 5, 2, 3, 3, 2, 2, 1, 1, 1, 1, 2};
  const float step = 1.0f / 16;
  const auto x = whole_numbers(shape.input_size(), -4, 4, 91),
             dy = whole_numbers(shape.output_size(), -4, 4, 92);
  Fprop forward{.shape = shape, .x = x, .w = whole_numbers(shape.weight_size(), -4, 4, 93)};
  forward.bias = {0.5f, -1.5f, 2.5f};
  forward.relu = true;
  for (ConvVariant variant : variants) {
    CAPTURE(kernels::conv_variant_name(variant));
    forward.x = x;
    const std::vector<float> y = run(forward, variant).y;
    Dgrad backward{.shape = shape, .dy = dy, .w = forward.w};
    for (float v : y) backward.factor.push_back(v > 0 ? 1.0f : 0.0f);  // the ReLU's derivative
    const std::vector<float> dx = run(backward, variant);
    std::vector<double> differences;
    for (std::size_t i = 0; i < x.size(); ++i) {
      forward.x = x;
      forward.x[i] = x[i] + step;
      const double above = dot(run(forward, variant).y, dy);
      forward.x[i] = x[i] - step;
      const double below = dot(run(forward, variant).y, dy);
      differences.push_back((above - below) / (2 * double(step)));
    }
    CHECK_CLOSE(dx, differences, 0, 0);
  }
}

}  // namespace
}  // namespace retrace::conv_test
