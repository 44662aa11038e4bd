// Preparing weights for the kernels: batch norm folded, layout changed.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "build_files.h"
#include "weights/fold_batch_norm.h"
#include "weights/layout.h"

namespace retrace::weights::test {
namespace {

std::vector<float> random_values(std::size_t n, float low, float high, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> pick(low, high);
  std::vector<float> values(n);
  for (float& value : values) value = pick(engine);
  return values;
}

}  // namespace

TEST_CASE("a folded convolution gives what convolution and batch norm give") {
  constexpr std::size_t channels = 5, taps = 12;
  const auto weight = random_values(channels * taps, -1, 1, 1), bias = random_values(channels, -1, 1, 2);
  const auto gamma = random_values(channels, -2, 2, 3), beta = random_values(channels, -1, 1, 4);
  const auto mean = random_values(channels, -1, 1, 5), variance = random_values(channels, 0.01f, 2, 6);
  const auto x = random_values(taps, -1, 1, 7);
  const double epsilon = 1e-3;

  for (const bool affine : {true, false}) {
    for (const bool with_bias : {true, false}) {
      BatchNorm norm{{}, {}, mean, variance, epsilon};
      if (affine) norm.gamma = gamma, norm.beta = beta;
      const std::span<const float> b = with_bias ? std::span<const float>(bias) : std::span<const float>();
      const FoldedConvolution folded = fold_batch_norm("conv1", weight, b, norm);
      REQUIRE(folded.weight.size() == weight.size());
      REQUIRE(folded.bias.size() == channels);
      for (std::size_t k = 0; k < channels; ++k) {
        double plain = with_bias ? bias[k] : 0, together = folded.bias[k];
        for (std::size_t i = 0; i < taps; ++i) {
          plain += double(weight[k * taps + i]) * x[i];
          together += double(folded.weight[k * taps + i]) * x[i];
        }
        double expected = (plain - mean[k]) / std::sqrt(double(variance[k]) + epsilon);
        if (affine) expected = expected * gamma[k] + beta[k];
        // 13 values rounded to float (2^-24 each), magnified at most by |γ|/√(σ²+ε) ≤ 2/√0.01 = 20.
        CHECK(std::abs(together - expected) < 13 * 20 * 0x1p-24);
      }
    }
  }
}

TEST_CASE("folding is exact where the numbers are") {
  const std::vector<float> weight{1, 2, -3, 4}, gamma{2, 0}, beta{1, 5}, mean{3, 7}, variance{3.75f, 1};
  const FoldedConvolution folded = fold_batch_norm("c", weight, {}, {gamma, beta, mean, variance, 0.25});
  CHECK(folded.weight == std::vector<float>{1, 2, 0, 0});
  CHECK(folded.bias == std::vector<float>{-2, 5});
}

TEST_CASE("folding refuses what does not fit or would not be finite") {
  const std::vector<float> two{1, 1}, three{1, 1, 1}, negative{1, -1}, huge{3e38f, 3e38f},
      tiny{1e-30f, 1e-30f};
  const auto fold = [&](std::span<const float> weight, std::span<const float> bias, BatchNorm norm) {
    return error_of([&] { fold_batch_norm("layer1.0.conv1", weight, bias, norm); });
  };
  CHECK(contains(fold(three, {}, {two, two, two, two, 1e-5}), "layer1.0.conv1: 3 weights do not divide"));
  CHECK(contains(fold(two, three, {two, two, two, two, 1e-5}), "bias has 3 values, its mean 2"));
  CHECK(contains(fold(two, {}, {three, two, two, two, 1e-5}), "gamma has 3"));
  CHECK(contains(fold(two, {}, {two, three, two, two, 1e-5}), "beta has 3"));
  CHECK(contains(fold(two, {}, {two, two, two, three, 1e-5}), "variance has 3"));
  CHECK(contains(fold(two, {}, {two, two, two, negative, 1e-5}), "channel 1: variance -1 plus epsilon"));
  CHECK(contains(fold(huge, {}, {two, two, two, tiny, 0}), "not finite"));
  CHECK(contains(fold({}, {}, {{}, {}, {}, {}, 1e-5}), "0 channels"));
}

TEST_CASE("KCRS to KRSC and back") {
  constexpr std::int64_t k = 3, c = 4, r = 2, s = 5;
  std::vector<float> kcrs(k * c * r * s);
  std::iota(kcrs.begin(), kcrs.end(), 0.f);
  const std::vector<float> krsc = kcrs_to_krsc(kcrs, k, c, r, s);
  for (std::int64_t ki = 0; ki < k; ++ki) {
    for (std::int64_t ci = 0; ci < c; ++ci) {
      for (std::int64_t ri = 0; ri < r; ++ri) {
        for (std::int64_t si = 0; si < s; ++si) {
          const auto from = std::size_t(((ki * c + ci) * r + ri) * s + si);
          const auto to = std::size_t(((ki * r + ri) * s + si) * c + ci);
          if (krsc[to] != kcrs[from]) FAIL("at " << ki << " " << ci << " " << ri << " " << si);
        }
      }
    }
  }
  CHECK(krsc_to_kcrs(krsc, k, c, r, s) == kcrs);
  CHECK(kcrs_to_krsc({}, 0, 4, 3, 3).empty());
  CHECK(contains(error_of([&] { kcrs_to_krsc(kcrs, k, c, r, s + 1); }),
                 "120 values, but K, C, R, S = [3, 4, 2, 6]"));
  CHECK(contains(error_of([&] { krsc_to_kcrs(kcrs, -k, -c, r, s); }), "[-3, -4, 2, 5]"));
}

}  // namespace retrace::weights::test
