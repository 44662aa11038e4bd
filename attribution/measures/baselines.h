// Maps that know nothing of picture or network: what an explanation must beat.
#pragma once
#include <cstdint>
#include <vector>

namespace retrace::measures {

// A random order of the pixels: values in (0, 1), independent of each other. `index` is the picture's: the same seed
// and index give the same map, on every machine.
std::vector<float> random_map(int height, int width, std::uint64_t seed, std::uint64_t index);

// exp(-d² / 2σ²), d the distance from the middle, σ a quarter of the side, in each direction: where photographers put
// what matters.
std::vector<float> centre_map(int height, int width);

}  // namespace retrace::measures
