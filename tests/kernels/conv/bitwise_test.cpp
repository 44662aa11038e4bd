// Results do not depend, in any bit, on the batch a picture is in, on the run, or on the order of threads.
#include <doctest/doctest.h>

#include "kernels/simt/sim_runtime.h"
#include "tests/common/compare.h"
#include "tests/common/few_cases.h"
#include "tests/common/test_device.h"
#include "tests/kernels/conv/harness.h"

namespace retrace::conv_test {
namespace {

constexpr ConvVariant all_variants[] = {ConvVariant::automatic, ConvVariant::direct, ConvVariant::tiled,
                                        ConvVariant::depthwise};

// Batch 1 takes another tile than batch 4 in several of these.
const Conv2dShape shapes[] = {
    {4, 7, 7, 64, 130, 3, 3, 1, 1, 1, 1},  // 49 rows → 64 × 64; 196 → 128 × 128
    {4, 7, 6, 33, 64, 3, 3, 1, 1, 1, 1},   // 42 rows → 64 × 64; 168 → 128 × 64
    {4, 11, 9, 3, 20, 7, 7, 2, 2, 3, 3},   // merged
    {4, 9, 8, 20, 12, 3, 3, 2, 2, 1, 1},   // strided dgrad
    {4, 8, 8, 130, 64, 1, 1, 2, 2},        // pixels no tap meets
    {4, 7, 5, 16, 20, 3, 3, 1, 1, 1, 1, 1, 1, 2},
    {4, 6, 5, 33, 33, 3, 3, 1, 1, 1, 1, 1, 1, 33},
    // depthwise: its own kernels, and from the same operands, off their alignment, the one for any filter
    {4, 7, 9, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},
    {4, 9, 6, 24, 24, 3, 3, 2, 2, 1, 1, 1, 1, 24},
    {4, 5, 7, 24, 24, 1, 1, 1, 1, 0, 0, 1, 1, 24},
    {4, 9, 8, 8, 8, 5, 3, 2, 3, 2, 1, 1, 2, 8},
};

template <class T>
std::vector<T> part(const std::vector<T>& all, std::size_t index, std::size_t count) {
  const auto first = all.begin() + std::ptrdiff_t(all.size() / count * index);
  return std::vector<T>(first, first + std::ptrdiff_t(all.size() / count));
}

Fprop full_fprop(const Conv2dShape& shape) {
  Fprop a{.shape = shape,
          .x = random_floats(shape.input_size(), 101),
          .w = random_floats(shape.weight_size(), 102)};
  a.bias = random_floats(shape.k, 103);
  a.residual = random_floats(shape.output_size(), 104);
  a.relu = a.mask = true;
  return a;
}

Dgrad full_dgrad(const Conv2dShape& shape, bool fused_load) {
  Dgrad a{.shape = shape,
          .dy = random_floats(shape.output_size(), 105),
          .w = random_floats(shape.weight_size(), 106)};
  a.pending = random_floats(shape.input_size(), 107);
  a.mask = random_mask(shape.input_size() / shape.c, shape.c, 108);
  if (fused_load) {
    a.factor = random_floats(shape.output_size(), 109);
    a.denominator = random_floats(shape.output_size(), 110);
    a.epsilon = 0.25f;
  }
  return a;
}

TEST_CASE("a batch of four equals four singles") {
  if (few_cases()) return;  // launches that the tests of shapes and epilogues have too
  for (const Conv2dShape& shape : shapes) {
    Conv2dShape one = shape;
    one.n = 1;
    for (ConvVariant variant : all_variants) {
      CAPTURE(shape.describe());
      CAPTURE(kernels::conv_variant_name(variant));
      const Fprop f = full_fprop(shape);
      const Dgrad d = full_dgrad(shape, true);
      const FpropResult y = run(f, variant);
      const std::vector<float> dx = run(d, variant);
      for (std::size_t i = 0; i < 4; ++i) {
        Fprop single = f;
        single.shape = one;
        single.x = part(f.x, i, 4);
        single.residual = part(f.residual, i, 4);
        const FpropResult got = run(single, variant);
        CHECK_SAME_BITS(got.y, part(y.y, i, 4));
        CHECK_SAME_BITS(got.mask, part(y.mask, i, 4));
        Dgrad back = d;
        back.shape = one;
        back.dy = part(d.dy, i, 4);
        back.factor = part(d.factor, i, 4);
        back.denominator = part(d.denominator, i, 4);
        back.pending = part(d.pending, i, 4);
        back.mask = part(d.mask, i, 4);
        CHECK_SAME_BITS(run(back, variant), part(dx, i, 4));
      }
    }
  }
}

TEST_CASE("wide and narrow loads add in the same order") {
  if (few_cases()) return;
  for (const Conv2dShape& shape : shapes) {
    CAPTURE(shape.describe());
    const Fprop f = full_fprop(shape);
    const Dgrad d = full_dgrad(shape, false);
    for (ConvVariant variant : {ConvVariant::tiled, ConvVariant::depthwise}) {
      CAPTURE(kernels::conv_variant_name(variant));
      CHECK_SAME_BITS(run(f, variant).y, run(f, variant, {1, 1, 1}).y);
      CHECK_SAME_BITS(run(d, variant), run(d, variant, {1, 1, 1}));
    }
  }
}

TEST_CASE("automatic is one of the variants, the same for every batch") {
  for (const auto& [why, shape] : shape_table()) {
    CAPTURE(why);
    Conv2dShape larger = shape;
    larger.n = 64;
    CHECK(kernels::select_fprop(shape) != ConvVariant::automatic);
    CHECK(kernels::select_dgrad(shape) != ConvVariant::automatic);
    CHECK(kernels::select_fprop(shape) == kernels::select_fprop(larger));
    CHECK(kernels::select_dgrad(shape) == kernels::select_dgrad(larger));
  }
  const Conv2dShape& shape = shapes[0];
  CHECK_SAME_BITS(run(full_fprop(shape), ConvVariant::automatic).y,
                  run(full_fprop(shape), kernels::select_fprop(shape)).y);
}

TEST_CASE("two runs agree, and in the simulator every order of threads") {
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
  for (const Conv2dShape& shape : shapes) {
    for (ConvVariant variant : variants) {
      simt::set_sim_options(restore.options);
      const FpropResult y = run(full_fprop(shape), variant);
      const std::vector<float> dx = run(full_dgrad(shape, true), variant);
      for (const simt::SimOptions& options : settings) {
        CAPTURE(shape.describe());
        CAPTURE(kernels::conv_variant_name(variant));
        CAPTURE(int(options.order));
        simt::set_sim_options(options);
        const FpropResult again = run(full_fprop(shape), variant);
        CHECK_SAME_BITS(again.y, y.y);
        CHECK_SAME_BITS(again.mask, y.mask);
        CHECK_SAME_BITS(run(full_dgrad(shape, true), variant), dx);
      }
    }
  }
}

}  // namespace
}  // namespace retrace::conv_test
