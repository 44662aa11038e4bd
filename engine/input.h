// From 8-bit pixels to what a network reads.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace retrace {

// pixels: [n, h, w, 3] bytes; returns (pixel / 255 − mean) / std as [n, h, w, 3].
Tensor normalized_input(Device& device, const std::vector<std::uint8_t>& pixels, int n, int h, int w,
                        const std::array<float, 3>& mean, const std::array<float, 3>& std);

}  // namespace retrace
