#include "engine/input.h"

#include <algorithm>

namespace retrace {

Tensor normalized_input(Device& device, const std::vector<std::uint8_t>& pixels, int n, int h, int w,
                        const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  const Tensor bytes = Tensor::from_host(device, {n, h, w, 3}, pixels);
  Tensor x(device, {n, h, w, 3});
  kernels::NormalizeU8 launch{
      .n = n, .h = h, .w = w, .c = 3, .pixels = bytes.data<std::uint8_t>(), .y = x.data()};
  std::copy_n(mean.begin(), 3, launch.mean);
  std::copy_n(std.begin(), 3, launch.std);
  device.kernels().normalize_u8(launch, device.stream());
  return x;
}

}  // namespace retrace
