// The weight gradient: every shape of the table × variant against float64, and what must hold whatever the
// reference says.
#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <tuple>

#include "kernels/conv/wgrad_plan.h"
#include "kernels/simt/sim_runtime.h"
#include "tests/common/compare.h"
#include "tests/common/few_cases.h"
#include "tests/common/test_device.h"
#include "tests/kernels/conv/harness.h"

namespace retrace::conv_test {
namespace {

Wgrad wgrad_of(const Conv2dShape& shape, bool whole) {
  return {.shape = shape,
          .x = whole ? whole_numbers(shape.input_size(), -4, 4, 1) : random_floats(shape.input_size(), 1),
          .dy = whole ? whole_numbers(shape.output_size(), -4, 4, 2) : random_floats(shape.output_size(), 2)};
}

double pixels_of(const Conv2dShape& shape) {
  return double(shape.output_size() / shape.k);
}

TEST_CASE("wgrad: whole numbers come out exactly, aligned or not, added or not") {
  for (const auto& [why, shape] : wgrad_shape_table()) {
    Wgrad a = wgrad_of(shape, true);
    const std::vector<double> want = expected(a);
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      a.accumulate.clear();
      CHECK_CLOSE(run(a, variant), want, 0, 0);
      if (variant != ConvVariant::direct) {  // which knows no wide loads
        CHECK_CLOSE(run(a, variant, few_cases() ? Offsets{1, 1, 1} : Offsets{1, 0, 1}), want, 0, 0);
        if (!few_cases()) CHECK_CLOSE(run(a, variant, {0, 1, 0}), want, 0, 0);
      }
      a.accumulate = whole_numbers(shape.weight_size(), -4, 4, 3);
      CHECK_CLOSE(run(a, variant), expected(a), 0, 0);
    }
  }
}

TEST_CASE("wgrad: floats, to fp32 rounding") {
  if (few_cases()) return;  // the launches of whole numbers once more
  for (const auto& [why, shape] : wgrad_shape_table()) {
    const Wgrad a = wgrad_of(shape, false);
    const std::vector<double> want = expected(a);
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      CHECK_CLOSE(run(a, variant), want, max_tolerance(pixels_of(shape), want),
                  rms_tolerance(pixels_of(shape)));
    }
  }
}

TEST_CASE("wgrad is the adjoint of fprop in the weights: <conv(x, w), dy> = <dw, w>") {
  if (few_cases()) return;
  for (const auto& [why, shape] : wgrad_shape_table()) {
    const auto x = random_floats(shape.input_size(), 71), w = random_floats(shape.weight_size(), 72);
    const auto dy = random_floats(shape.output_size(), 73);
    const double terms = double(shape.r) * shape.s * shape.c / shape.groups;
    for (ConvVariant variant : variants) {
      CAPTURE(why);
      CAPTURE(kernels::conv_variant_name(variant));
      const std::vector<float> y = run(Fprop{.shape = shape, .x = x, .w = w}, variant).y;
      const std::vector<float> dw = run(Wgrad{.shape = shape, .x = x, .dy = dy}, variant);
      // Cauchy-Schwarz: an error e of y moves the product by at most ‖e‖ ‖dy‖.
      const double tolerance =
          rms_tolerance(terms) * norm(y) * norm(dy) + rms_tolerance(pixels_of(shape)) * norm(dw) * norm(w);
      CHECK(std::abs(dot(y, dy) - dot(dw, w)) <= tolerance);
    }
  }
}

TEST_CASE("wgrad: the shapes above meet every tile, one slice and many") {
  std::set<std::tuple<int, int, bool>> tiles;
  std::set<int> slices, own_slices;
  for (const auto& [why, shape] : wgrad_shape_table()) {
    CAPTURE(why);
    const kernels::WgradPlan plan = kernels::plan_wgrad(shape);
    tiles.insert({plan.tile_rows, plan.tile_columns, shape.c / shape.groups % 4 == 0});
    slices.insert(plan.slices);
    // Every pixel is in one slice and no slice is empty.
    const double pixels = pixels_of(shape);
    CHECK(1.0 * plan.slices * plan.slice_pixels >= pixels);
    CHECK(1.0 * (plan.slices - 1) * plan.slice_pixels < pixels);
    CHECK(kernels::conv2d_wgrad_workspace(shape, ConvVariant::tiled) ==
          (plan.slices == 1 ? 0 : plan.slices * shape.weight_size()));
    CHECK(kernels::conv2d_wgrad_workspace(shape, ConvVariant::direct) == 0);
    if (!kernels::is_depthwise(shape)) {
      CHECK(kernels::conv2d_wgrad_workspace(shape, ConvVariant::depthwise) ==
            kernels::conv2d_wgrad_workspace(shape, kernels::select_dense_wgrad(shape)));
      continue;
    }
    const kernels::DepthwisePlan own = kernels::plan_depthwise_wgrad(shape);
    own_slices.insert(own.slices);
    CHECK(1.0 * own.slices * own.slice_pixels >= pixels);
    CHECK(1.0 * (own.slices - 1) * own.slice_pixels < pixels);
    CHECK(kernels::conv2d_wgrad_workspace(shape, ConvVariant::depthwise) ==
          (own.slices == 1 ? 0 : own.slices * shape.weight_size()));
  }
  CHECK(own_slices.count(1));
  CHECK(own_slices.count(2));
  CHECK(*own_slices.rbegin() > 32);
  // 16, 32, 64 and 128 rows of 32, 64 and 128 columns, or 32 and 160 where C is not a multiple of 4; all but the
  // last also of 144
  CHECK(tiles.size() == 4 * (3 + 2) + 3);
  CHECK(slices.count(1));
  CHECK(slices.count(2));
  CHECK(*slices.rbegin() > 32);  // summed in parts
}

TEST_CASE("wgrad: automatic is one of the variants, the same for every batch") {
  for (const auto& [why, shape] : wgrad_shape_table()) {
    CAPTURE(why);
    Conv2dShape larger = shape;
    larger.n = 64;
    CHECK(kernels::select_wgrad(shape) != ConvVariant::automatic);
    CHECK(kernels::select_wgrad(shape) == kernels::select_wgrad(larger));
  }
  for (const Conv2dShape& shape : {Conv2dShape{2, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1},
                                   Conv2dShape{2, 8, 7, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8}}) {
    const Wgrad a = wgrad_of(shape, false);
    CHECK_SAME_BITS(run(a, ConvVariant::automatic), run(a, kernels::select_wgrad(shape)));
  }
}

TEST_CASE("wgrad: two runs, aligned or not, and in the simulator every order of threads, agree bit by bit") {
  // Puts the options back however the test ends.
  struct Restore {
    simt::SimOptions options = simt::sim_options();
    ~Restore() { simt::set_sim_options(options); }
  } restore;
  std::vector<simt::SimOptions> settings = {restore.options};
  if (test_device().kind() == DeviceKind::sim && few_cases()) {
    settings = {{.order = simt::ThreadOrder::reverse}};
  } else if (test_device().kind() == DeviceKind::sim) {
    settings.push_back({.threads = 1});
    settings.push_back({.order = simt::ThreadOrder::reverse});
    settings.push_back({.order = simt::ThreadOrder::random, .seed = 1});
    settings.push_back({.order = simt::ThreadOrder::random, .seed = 2});
  }
  const Conv2dShape shapes[] = {
      {1, 65, 66, 3, 5, 3, 3, 1, 1, 1, 1},  // 34 slices
      {4, 11, 9, 3, 20, 7, 7, 2, 2, 3, 3},
      {4, 7, 7, 64, 130, 3, 3, 1, 1, 1, 1},
      {5, 12, 8, 16, 16, 3, 3, 1, 1, 1, 1},
      {4, 8, 8, 132, 100, 1, 1, 2, 2},
      {4, 7, 5, 16, 20, 3, 3, 1, 1, 1, 1, 1, 1, 2},
      {4, 6, 5, 33, 33, 3, 3, 1, 1, 1, 1, 1, 1, 33},
      {3, 12, 13, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16},
      {2, 13, 9, 24, 24, 1, 1, 1, 1, 0, 0, 1, 1, 24},
  };
  for (const Conv2dShape& shape : shapes) {
    Wgrad a = wgrad_of(shape, false);
    a.accumulate = random_floats(shape.weight_size(), 3);
    for (ConvVariant variant : variants) {
      simt::set_sim_options(restore.options);
      const std::vector<float> dw = run(a, variant);
      for (const simt::SimOptions& options : settings) {
        CAPTURE(shape.describe());
        CAPTURE(kernels::conv_variant_name(variant));
        CAPTURE(int(options.order));
        simt::set_sim_options(options);
        CHECK_SAME_BITS(run(a, variant), dw);
      }
      simt::set_sim_options(restore.options);
      CHECK_SAME_BITS(run(a, variant, {1, 1, 1}), dw);
    }
  }
}

}  // namespace
}  // namespace retrace::conv_test
