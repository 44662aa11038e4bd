// How training's reductions cut their work into slices: a function of its size alone.
#pragma once

namespace retrace::kernels {

// Of batch norm's pixels: at least 512 each, at most 256 of them.
constexpr int norm_slices(int pixels) {
  const int slices = (pixels - 1) / 512 + 1;
  return slices < 256 ? slices : 256;
}

// Elements of one partial sum of squares.
constexpr long long squares_slice = 65536;

}  // namespace retrace::kernels
