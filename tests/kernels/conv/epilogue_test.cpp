// Every combination of what is fused into the convolutions, on shapes that take each path of the kernels. All
// data are whole numbers and powers of two, so that results equal the reference exactly.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/common/compare.h"
#include "tests/common/few_cases.h"
#include "tests/kernels/conv/harness.h"
#include "tests/reference/conv.h"

namespace retrace::conv_test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr Part parts[] = {Part::all, Part::positive, Part::negative};

const Conv2dShape fprop_shapes[] = {
    {2, 5, 4, 3, 13, 3, 3, 2, 1, 1, 1},             // merged rows, partial mask byte
    {1, 6, 5, 8, 20, 3, 3, 1, 1, 1, 1},             // wide loads
    {2, 4, 5, 10, 70, 1, 1},                        // narrow loads, two column tiles
    {1, 5, 5, 8, 32, 3, 3, 1, 2, 1, 1, 1, 1, 2},    // groups that fill mask bytes
    {1, 5, 5, 8, 20, 3, 1, 1, 1, 1, 0, 1, 1, 2},    // groups that do not
    {1, 5, 6, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},  // depthwise: 3 x 3,
    {1, 5, 6, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16},
    {2, 5, 3, 16, 16, 1, 1, 1, 1, 0, 0, 1, 1, 16},  // 1 x 1,
    {1, 5, 6, 16, 16, 2, 3, 1, 1, 1, 1, 1, 1, 16},  // any filter,
    {1, 5, 3, 13, 13, 3, 3, 1, 1, 1, 1, 1, 1, 13},  // and narrow loads
};

TEST_CASE("fprop: every epilogue") {
  for (const Conv2dShape& shape : fprop_shapes) {
    const auto x = whole_numbers(shape.input_size(), -3, 3, 11),
               w = whole_numbers(shape.weight_size(), -3, 3, 12);
    const auto bias = whole_numbers(shape.k, -20, 20, 13);
    const auto residual = whole_numbers(shape.output_size(), -20, 20, 14);
    for (Part part : parts) {
      std::vector<double> x_part(x.begin(), x.end());
      for (double& v : x_part) v = part_of(part, v);
      const std::vector<double> sums = reference::conv2d_fprop(shape, x_part, w);
      // Few: every choice of each thing, not every combination. 5 has no factor in common with 36, nor 7 with 48.
      for (int bits = 0; bits < 2 * 3 * 3 * 2; bits += few_cases() ? 5 : 1) {
        const int residual_kind = bits / 2 % 3, relu_kind = bits / 6 % 3;
        Fprop a{.shape = shape, .x = x, .w = w, .part = part};
        if (bits % 2) a.bias = bias;
        if (residual_kind) a.residual = residual;
        a.residual_is_y = residual_kind == 2;
        a.relu = relu_kind > 0;
        a.mask = relu_kind == 2;
        a.alpha = bits / 18 ? -1.5f : 1.0f;
        const std::vector<double> want = finish(a, sums);
        const std::vector<float> exact(want.begin(), want.end());
        for (ConvVariant variant : variants) {
          CAPTURE(shape.describe());
          CAPTURE(kernels::conv_variant_name(variant));
          CAPTURE(int(part));
          CAPTURE(bits % 2);
          CAPTURE(residual_kind);
          CAPTURE(relu_kind);
          CAPTURE(a.alpha);
          const FpropResult got = run(a, variant);
          CHECK_CLOSE(got.y, want, 0, 0);
          if (a.mask) CHECK_SAME_BITS(got.mask, mask_of(exact, shape.k));
        }
      }
    }
  }
}

const Conv2dShape dgrad_shapes[] = {
    {2, 5, 4, 13, 8, 3, 3, 2, 1, 1, 1},   // strided, partial mask byte, wide loads where the load is plain
    {1, 7, 6, 20, 5, 1, 1, 3, 2},         // pixels no tap meets, narrow loads
    {1, 4, 5, 70, 12, 3, 3, 1, 1, 1, 1},  // two column tiles
    {1, 5, 5, 20, 8, 3, 3, 1, 1, 1, 1, 1, 1, 2},    // groups whose mask bits share bytes
    {1, 5, 6, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},  // depthwise, as above
    {1, 5, 6, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16},
    {2, 5, 3, 16, 16, 1, 1, 1, 1, 0, 0, 1, 1, 16},
    {1, 5, 6, 16, 16, 2, 3, 1, 2, 1, 1, 1, 1, 16},
    {1, 5, 3, 13, 13, 3, 3, 1, 1, 1, 1, 1, 1, 13},
};

// With epsilon 1 the stabilized ones are ±1, ±2, ±4, ±8 (0 counts as positive); with epsilon 0 they are 0,
// ±1, ±2, ±4.
std::vector<float> denominators(long long count, bool with_epsilon, std::uint32_t seed) {
  constexpr float shifted[] = {0, 1, 3, 7, -1, -3, -7, 0}, plain[] = {0, 1, 2, 4, -1, -2, -4, 0};
  std::vector<float> values = whole_numbers(count, 0, 7, seed);
  for (float& v : values) v = (with_epsilon ? shifted : plain)[int(v)];
  return values;
}

enum class Load : std::uint8_t { signal, factor, denominator, stabilized, both };
constexpr Load loads[] = {Load::signal, Load::factor, Load::denominator, Load::stabilized, Load::both};

TEST_CASE("dgrad: every load and epilogue") {
  for (const Conv2dShape& shape : dgrad_shapes) {
    Dgrad base{.shape = shape, .dy = whole_numbers(shape.output_size(), -3, 3, 21)};
    base.w = whole_numbers(shape.weight_size(), -3, 3, 22);
    const auto multiply = whole_numbers(shape.input_size(), -3, 3, 23);
    const auto pending = whole_numbers(shape.input_size(), -20, 20, 24);
    const auto mask = random_mask(shape.input_size() / shape.c, shape.c, 25);
    for (Load load : loads) {
      Dgrad loaded = base;
      if (load == Load::factor || load == Load::both) {
        loaded.factor = whole_numbers(shape.output_size(), -2, 2, 26);  // a fifth are 0
      }
      if (load >= Load::denominator) {
        loaded.epsilon = load == Load::denominator ? 0.0f : 1.0f;
        loaded.denominator = denominators(shape.output_size(), loaded.epsilon > 0, 27);
      }
      const std::vector<double> sums = reference::conv2d_dgrad(shape, loaded_signal(loaded), loaded.w);
      for (int bits = 0; bits < 3 * 2 * 4 * 2; bits += few_cases() ? 7 : 1) {
        const int pending_kind = bits % 3, multiply_kind = bits / 6 % 4;
        Dgrad a = loaded;
        if (pending_kind) a.pending = pending;
        a.pending_is_dx = pending_kind == 2;
        if (bits / 3 % 2) a.mask = mask;
        if (multiply_kind) {
          a.multiply = multiply;
          a.part = parts[multiply_kind - 1];
        }
        a.alpha = bits / 24 ? -1.5f : 1.0f;
        const std::vector<double> want = finish(a, sums);
        for (ConvVariant variant : variants) {
          CAPTURE(shape.describe());
          CAPTURE(kernels::conv_variant_name(variant));
          CAPTURE(int(load));
          CAPTURE(pending_kind);
          CAPTURE(a.mask.empty());
          CAPTURE(multiply_kind);
          CAPTURE(a.alpha);
          CHECK_CLOSE(run(a, variant), want, 0, 0);
        }
      }
    }
  }
}

TEST_CASE("dgrad: a stabilized division, to fp32 rounding") {
  const Conv2dShape shape{2, 6, 5, 20, 16, 3, 3, 2, 1, 1, 1};
  Dgrad a{.shape = shape,
          .dy = random_floats(shape.output_size(), 31),
          .w = random_floats(shape.weight_size(), 32)};
  a.factor = random_floats(shape.output_size(), 33);
  a.denominator = random_floats(shape.output_size(), 34);
  a.denominator[3] = 0;
  a.epsilon = 0.25f;  // keeps the quotients below 4, so that no single term outgrows the rest
  const std::vector<double> want = expected(a);
  for (ConvVariant variant : variants) {
    CAPTURE(kernels::conv_variant_name(variant));
    CHECK_CLOSE(run(a, variant), want, max_tolerance(9 * 16, want), rms_tolerance(9 * 16));
  }
}

TEST_CASE("dgrad: epsilon has the sign of the denominator, and 0 counts as positive") {
  const Conv2dShape shape{1, 1, 6, 1, 1, 1, 1};
  Dgrad a{.shape = shape, .dy = {1, 1, 1, 0, 1, 0}, .w = {1}};
  a.denominator = {3, -3, 0, 0, -0.0f, 5};
  a.epsilon = 1;
  const std::vector<float> want = {0.25f, -0.25f, 1, 0, 1, 0};
  for (ConvVariant variant : variants) CHECK_CLOSE(run(a, variant), want, 0, 0);
  a.epsilon = 0;
  a.denominator = {4, -4, 0, 0, -0.0f, 5};
  const std::vector<float> without = {0.25f, -0.25f, 0, 0, 0, 0};
  for (ConvVariant variant : variants) CHECK_CLOSE(run(a, variant), without, 0, 0);
}

TEST_CASE("a NaN reaches what sees it and nothing else, and no ReLU, part or mask bit hides it") {
  const Conv2dShape shapes[] = {
      {1, 7, 7, 8, 9, 3, 3, 1, 1, 1, 1},   // wide loads
      {1, 9, 9, 3, 13, 3, 3, 2, 2, 1, 1},  // merged rows: the load's tail runs into the next pixel
      {1, 6, 7, 10, 5, 3, 1, 1, 2, 1, 0},  // narrow loads with a tail
      {1, 6, 6, 12, 20, 3, 3, 1, 1, 1, 1, 1, 1, 2},
      {1, 7, 6, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8},  // depthwise
      {1, 7, 6, 8, 8, 3, 3, 2, 2, 1, 1, 1, 1, 8},
      {1, 7, 6, 8, 8, 1, 1, 1, 1, 0, 0, 1, 1, 8},
      {1, 7, 6, 5, 5, 3, 2, 2, 1, 1, 1, 1, 1, 5},
  };
  for (const Conv2dShape& shape : shapes) {
    const auto x = whole_numbers(shape.input_size(), -3, 3, 41),
               w = whole_numbers(shape.weight_size(), -3, 3, 42);
    const auto dy = whole_numbers(shape.output_size(), -3, 3, 43);
    for (ConvVariant variant : variants) {
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      for (Part part : parts) {
        CAPTURE(int(part));
        Fprop a{.shape = shape, .x = x, .w = w, .part = part, .relu = true, .mask = true};
        // The first channel of a pixel, where the tail of the pixel before it would run into it.
        a.x[x.size() / 2 / std::size_t(shape.c) * std::size_t(shape.c)] = nan;
        const FpropResult got = run(a, variant);
        CHECK_CLOSE(got.y, expected(a), 0, 0);
        CHECK_SAME_BITS(got.mask, mask_of(got.y, shape.k));  // a NaN is not > 0
      }
      Dgrad b{.shape = shape, .dy = dy, .w = w};
      b.dy[dy.size() / 2 / std::size_t(shape.k) * std::size_t(shape.k)] = nan;
      CHECK_CLOSE(run(b, variant), expected(b), 0, 0);
      b.factor = std::vector<float>(dy.size(),
                                    0.0f);  // 0 · NaN is NaN: only a 0 signal or denominator passes nothing
      CHECK_CLOSE(run(b, variant), expected(b), 0, 0);
    }
  }
}

TEST_CASE("dgrad: the mask selects, so that a NaN behind a closed ReLU is 0") {
  const Conv2dShape shape{1, 4, 4, 5, 8, 1, 1};
  Dgrad a{.shape = shape, .dy = std::vector<float>(std::size_t(shape.output_size()), nan)};
  a.w = whole_numbers(shape.weight_size(), 1, 3, 51);
  a.pending = whole_numbers(shape.input_size(), -3, 3, 52);
  a.mask = random_mask(16, 5, 53);
  std::vector<double> want(std::size_t(shape.input_size()), double(nan));
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (!(a.mask[i / 5] >> (i % 5) & 1)) want[i] = 0;
  }
  for (ConvVariant variant : variants) CHECK_CLOSE(run(a, variant), want, 0, 0);
}

TEST_CASE("fprop: a bit is set where y > 0, not where y is 0") {
  const Conv2dShape shape{1, 1, 2, 1, 9, 1, 1};
  Fprop a{.shape = shape, .x = {1, 0}, .w = {1, 0, -1, 2, 0, 3, -2, 0, 5}, .relu = true, .mask = true};
  for (ConvVariant variant : variants) {
    const std::vector<std::uint8_t> want = {0b00101001, 1, 0, 0};
    CHECK_SAME_BITS(run(a, variant).mask, want);
  }
}

}  // namespace
}  // namespace retrace::conv_test
