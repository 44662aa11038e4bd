// Batch norm at inference is an affine map per channel; after a convolution it disappears into its weights:
//   k = γ / √(σ² + ε),  w′ = k · w,  b′ = k · (b − μ) + β      (Jacob et al. 2018, section 3.2)
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace retrace::weights {

// One value per output channel K each. γ and β may be empty: 1 and 0.
struct BatchNorm {
  std::span<const float> gamma, beta, mean, variance;
  double epsilon = 1e-5;
};

struct FoldedConvolution {
  std::vector<float> weight;  // in the given layout
  std::vector<float> bias;    // [K]
};

// `weight` is [K, …] in any layout that has the output channel first; `bias` is [K], or empty for 0. Computed
// in double, rounded once. Throws Error, beginning with `name`, if sizes disagree, a variance plus ε is not
// above 0, or a result is not finite.
FoldedConvolution fold_batch_norm(std::string_view name, std::span<const float> weight,
                                  std::span<const float> bias, const BatchNorm& norm);

}  // namespace retrace::weights
