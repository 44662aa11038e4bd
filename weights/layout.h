// Convolution weights between PyTorch's layout, KCRS, and the kernels', KRSC.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace retrace::weights {

// K output channels, C input channels (per group), R × S taps. Both throw Error if a size is negative or the
// number of values is not k·c·r·s.
std::vector<float> kcrs_to_krsc(std::span<const float> values, std::int64_t k, std::int64_t c, std::int64_t r,
                                std::int64_t s);
std::vector<float> krsc_to_kcrs(std::span<const float> values, std::int64_t k, std::int64_t c, std::int64_t r,
                                std::int64_t s);

}  // namespace retrace::weights
