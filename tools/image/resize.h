// Resizing with antialiasing.
#pragma once
#include "attribution/render/picture.h"

namespace retrace::image {

// A part of a picture, in pixels.
struct Window {
  int left = 0, top = 0, width = 0, height = 0;
};

// Resizes to width x height and returns the part `window` of the result (only that part is computed).
// Bilinear with antialiasing, as PIL's BILINEAR and torchvision's antialias=True: where a side shrinks by a
// factor s, the triangle filter is s times as wide; weights are cut off at the edges and sum to 1. First
// along x, then along y, rounding to 8 bits after each, weights in 22-bit fixed point: the same bits as PIL.
// Throws Error if a side is not positive or the window lies outside.
Picture resize_bilinear(const Picture& picture, int width, int height, Window window);
Picture resize_bilinear(const Picture& picture, int width, int height);

}  // namespace retrace::image
