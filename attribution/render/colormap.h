// The two colour maps of Retrace, computed in OKLab, a space in which equal distances look equally different
// (B. Ottosson, "A perceptual color space for image processing", 2020).
#pragma once
#include "attribution/render/picture.h"

namespace retrace::render {

struct Lab {
  float l = 0, a = 0, b = 0;  // OKLab: lightness 0 … 1, green–red, blue–yellow
};

Lab to_oklab(Rgb colour);

// For signed values: t in [-1, 1] (clamped), blue – white – red. Straight lines in OKLab from white to a blue
// and a red of the same lightness and chroma: ±t differ in hue only, and steps look even.
Rgb diverging(float t);

// For values ≥ 0: t in [0, 1] (clamped), from a near-black violet over red and orange to a light yellow.
// Lightness rises steadily, so the order survives in grey; t runs along the arc length in OKLab, so steps
// look even.
Rgb sequential(float t);

}  // namespace retrace::render
