// Every shape of the table × variant × direction, against float64.
#include <doctest/doctest.h>

#include "tests/common/compare.h"
#include "tests/common/few_cases.h"
#include "tests/kernels/conv/harness.h"

namespace retrace::conv_test {
namespace {

Fprop fprop_of(const Conv2dShape& shape, bool whole) {
  return {.shape = shape,
          .x = whole ? whole_numbers(shape.input_size(), -4, 4, 1) : random_floats(shape.input_size(), 1),
          .w = whole ? whole_numbers(shape.weight_size(), -4, 4, 2) : random_floats(shape.weight_size(), 2)};
}

Dgrad dgrad_of(const Conv2dShape& shape, bool whole) {
  return {.shape = shape,
          .dy = whole ? whole_numbers(shape.output_size(), -4, 4, 3) : random_floats(shape.output_size(), 3),
          .w = whole ? whole_numbers(shape.weight_size(), -4, 4, 4) : random_floats(shape.weight_size(), 4)};
}

// Wide loads of both operands, of one, of neither.
std::vector<Offsets> alignments() {
  if (few_cases()) return {{0, 0, 0}, {1, 1, 0}};
  return {{0, 0, 0}, {1, 0, 1}, {0, 1, 1}, {1, 1, 0}};
}

TEST_CASE("fprop: whole numbers come out exactly, aligned or not") {
  for (const auto& [why, shape] : shape_table()) {
    const Fprop a = fprop_of(shape, true);
    const std::vector<double> want = expected(a);
    for (ConvVariant variant : variants) {
      for (const Offsets& offsets : alignments()) {
        CAPTURE(why);
        CAPTURE(shape.describe());
        CAPTURE(kernels::conv_variant_name(variant));
        CAPTURE(offsets.signal);
        CAPTURE(offsets.weights);
        CHECK_CLOSE(run(a, variant, offsets).y, want, 0, 0);
        if (variant == ConvVariant::direct) break;  // it knows no wide loads
      }
    }
  }
}

TEST_CASE("dgrad: whole numbers come out exactly, aligned or not") {
  for (const auto& [why, shape] : shape_table()) {
    const Dgrad a = dgrad_of(shape, true);
    const std::vector<double> want = expected(a);
    for (ConvVariant variant : variants) {
      for (const Offsets& offsets : alignments()) {
        CAPTURE(why);
        CAPTURE(shape.describe());
        CAPTURE(kernels::conv_variant_name(variant));
        CAPTURE(offsets.signal);
        CAPTURE(offsets.weights);
        CHECK_CLOSE(run(a, variant, offsets), want, 0, 0);
        if (variant == ConvVariant::direct) break;
      }
    }
  }
}

TEST_CASE("fprop: floats, to fp32 rounding") {
  if (few_cases()) return;  // the launches of whole numbers once more
  for (const auto& [why, shape] : shape_table()) {
    const Fprop a = fprop_of(shape, false);
    const std::vector<double> want = expected(a);
    const double terms = double(shape.r) * shape.s * shape.c / shape.groups;
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      CHECK_CLOSE(run(a, variant).y, want, max_tolerance(terms, want), rms_tolerance(terms));
    }
  }
}

TEST_CASE("dgrad: floats, to fp32 rounding") {
  if (few_cases()) return;
  for (const auto& [why, shape] : shape_table()) {
    const Dgrad a = dgrad_of(shape, false);
    const std::vector<double> want = expected(a);
    const double terms = double(shape.r) * shape.s * shape.k / shape.groups;
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      CHECK_CLOSE(run(a, variant), want, max_tolerance(terms, want), rms_tolerance(terms));
    }
  }
}

TEST_CASE("dgrad with a fused load: every shape, whole numbers exactly") {
  // The narrow, element by element path of the load, where the address arithmetic differs from the plain one.
  for (const auto& [why, shape] : shape_table()) {
    Dgrad a = dgrad_of(shape, true);
    a.factor = whole_numbers(shape.output_size(), -2, 2, 5);
    const std::vector<double> want = expected(a);
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      CHECK_CLOSE(run(a, variant), want, 0, 0);
    }
  }
}

TEST_CASE("depthwise: strides and dilations far beyond the picture") {
  const Conv2dShape table[] = {{1, 3, 4, 8, 8, 1, 1, 1 << 30, 1 << 30, 0, 0, 1, 1, 8},
                               {2, 4, 3, 5, 5, 2, 1, 2147483647, 3, 1, 0, 1, 2147483647, 5},
                               {1, 3, 5, 8, 8, 1, 3, 3, 1 << 30, 0, 1, 2147483647, 2, 8}};
  for (const Conv2dShape& shape : table) {
    CAPTURE(shape.describe());
    const Fprop f = fprop_of(shape, true);
    const Dgrad d = dgrad_of(shape, true);
    CHECK_CLOSE(run(f, ConvVariant::depthwise).y, expected(f), 0, 0);
    CHECK_CLOSE(run(d, ConvVariant::depthwise), expected(d), 0, 0);
  }
}

TEST_CASE("fprop with a ReLU mask: every shape") {
  for (const auto& [why, shape] : shape_table()) {
    Fprop a = fprop_of(shape, true);
    a.relu = a.mask = true;
    const std::vector<double> want = expected(a);
    const std::vector<float> exact(want.begin(), want.end());
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      const FpropResult got = run(a, variant);
      CHECK_CLOSE(got.y, want, 0, 0);
      CHECK_SAME_BITS(got.mask, mask_of(exact, shape.k));
    }
  }
}

}  // namespace
}  // namespace retrace::conv_test
