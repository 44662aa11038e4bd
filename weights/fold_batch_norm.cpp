#include "weights/fold_batch_norm.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/error.h"

namespace retrace::weights {

FoldedConvolution fold_batch_norm(std::string_view name, std::span<const float> weight,
                                  std::span<const float> bias, const BatchNorm& norm) {
  const std::size_t channels = norm.mean.size();
  const auto check = [&](const char* what, std::size_t size, bool optional) {
    if (size == channels || (optional && size == 0)) return;
    throw Error(fmt::format("{}: batch norm's {} has {} values, its mean {}", name, what, size, channels));
  };
  check("variance", norm.variance.size(), false);
  check("gamma", norm.gamma.size(), true);
  check("beta", norm.beta.size(), true);
  check("convolution's bias", bias.size(), true);
  if (channels == 0 || weight.size() % channels != 0) {
    throw Error(fmt::format("{}: {} weights do not divide into batch norm's {} channels", name, weight.size(),
                            channels));
  }

  const std::size_t per_channel = weight.size() / channels;
  FoldedConvolution folded{std::vector<float>(weight.size()), std::vector<float>(channels)};
  for (std::size_t k = 0; k < channels; ++k) {
    const double spread = double(norm.variance[k]) + norm.epsilon;
    if (!(spread > 0)) {
      throw Error(fmt::format("{}: channel {}: variance {} plus epsilon {} is not above 0", name, k,
                              norm.variance[k], norm.epsilon));
    }
    const double scale = (norm.gamma.empty() ? 1.0 : double(norm.gamma[k])) / std::sqrt(spread);
    const double before = bias.empty() ? 0.0 : double(bias[k]);
    const double after = norm.beta.empty() ? 0.0 : double(norm.beta[k]);
    folded.bias[k] = float(scale * (before - double(norm.mean[k])) + after);
    bool finite = std::isfinite(folded.bias[k]);
    for (std::size_t i = k * per_channel; i < (k + 1) * per_channel; ++i) {
      folded.weight[i] = float(scale * double(weight[i]));
      finite = finite && std::isfinite(folded.weight[i]);
    }
    if (!finite) {
      throw Error(fmt::format(
          "{}: channel {}: folding batch norm (scale {}) gives a value that is not finite", name, k, scale));
    }
  }
  return folded;
}

}  // namespace retrace::weights
