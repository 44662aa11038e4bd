// Backgrounds and fills: patterns of two colours.
#pragma once
#include <cstdint>
#include <vector>

#include "tools/data/random.h"

namespace retrace::data::scenes {

// 0 … 255 a channel.
struct Colour {
  float r = 0, g = 0, b = 0;
};
// Half of them from the whole cube, half pale, dark or greyish.
Colour random_colour(Random& random);
Colour blend(Colour a, Colour b, float t);
// Euclidean, at most 441.
float difference(Colour a, Colour b);

// A square picture being painted, before rounding.
struct Canvas {
  int size = 0;
  std::vector<Colour> pixels;  // [size · size]

  explicit Canvas(int side) : size(side), pixels(std::size_t(side) * side) {}
  Colour& at(int x, int y) { return pixels[std::size_t(y) * size + x]; }
  const Colour& at(int x, int y) const { return pixels[std::size_t(y) * size + x]; }
};

// How much of the second colour a pixel has, 0 … 1: [size · size].
using Field = std::vector<float>;

// Value noise: random values on a lattice of `cell` pixels, interpolated smoothly, plus the same at half the size and
// `persistence` times the strength, and so on for `octaves` or down to single pixels. Stretched about 0.5 and clamped.
Field noise(Random& random, int size, float cell, int octaves, float persistence);

enum class Pattern { noise, gradient, radial, stripes, checks, speckle, cells };
constexpr int pattern_count = 7;
// With scales drawn from `random`; `fine` for the inside of an object. Repeating patterns stay well below the size of
// an object, so that no cell of theirs can pass for one.
Field draw_pattern(Pattern pattern, Random& random, int size, bool fine);

// A pattern in two colours, or two of them blended by noise, under uneven light.
void paint_background(Canvas& canvas, Random& random);

}  // namespace retrace::data::scenes
