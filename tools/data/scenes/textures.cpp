#include "tools/data/scenes/textures.h"

#include <algorithm>
#include <cmath>

#include "tools/data/scenes/shapes.h"

namespace retrace::data::scenes {

namespace {

float smooth(float t) {
  t = std::clamp(t, 0.0f, 1.0f);
  return t * t * (3 - 2 * t);
}

// 0 … 1 … 0 for t = 0 … 0.5 … 1, and again.
float triangle_wave(float t) {
  t -= std::floor(t);
  return 1 - std::abs(2 * t - 1);
}

// Adds weight · (one octave of value noise) to `field`.
void add_octave(Random& random, int size, float cell, float weight, Field& field) {
  const float shift_x = random.unit(), shift_y = random.unit();
  const int lattice = int(float(size) / cell) + 3;
  std::vector<float> values(std::size_t(lattice) * lattice);
  for (float& v : values) v = random.unit() * weight;

  std::vector<int> columns(size);
  std::vector<float> parts(size);
  for (int x = 0; x < size; ++x) {
    const float at = (float(x) + 0.5f) / cell + shift_x;
    columns[x] = int(at);
    parts[x] = smooth(at - float(columns[x]));
  }
  std::vector<float> row(lattice);
  for (int y = 0; y < size; ++y) {
    const float at = (float(y) + 0.5f) / cell + shift_y, part = smooth(at - float(int(at)));
    const float *above = &values[std::size_t(at) * lattice], *below = above + lattice;
    for (int i = 0; i < lattice; ++i) row[i] = above[i] + (below[i] - above[i]) * part;
    float* out = &field[std::size_t(y) * size];
    for (int x = 0; x < size; ++x) {
      const float left = row[columns[x]], right = row[columns[x] + 1];
      out[x] += left + (right - left) * parts[x];
    }
  }
}

template <class Value>
Field fill(int size, Value value) {
  Field field(std::size_t(size) * size);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      field[std::size_t(y) * size + x] = value(float(x) + 0.5f, float(y) + 0.5f, x, y);
  return field;
}

// Along `axis` from 0 at one end of the picture to 1 at the other.
Field gradient(Random& random, int size) {
  const Point axis = direction(random.unit());
  const float half = float(size) / 2, reach = half * (std::abs(axis.x) + std::abs(axis.y));
  return fill(size, [&](float x, float y, int, int) {
    return ((x - half) * axis.x + (y - half) * axis.y) / reach * 0.5f + 0.5f;
  });
}

Field radial(Random& random, int size) {
  const float side = float(size), reach = side * random.between(0.6f, 1.4f);
  const Point centre{side * random.between(-0.3f, 1.3f), side * random.between(-0.3f, 1.3f)};
  return fill(size, [&](float x, float y, int, int) {
    x -= centre.x, y -= centre.y;
    return std::min(1.0f, std::sqrt(x * x + y * y) / reach);
  });
}

// Bands across `axis`, hard or soft, straight or bent by noise.
Field stripes(Random& random, int size, bool fine) {
  const Point axis = direction(random.unit());
  const float period = std::max(3.0f, float(size) * random.between(0.03f, fine ? 0.07f : 0.14f));
  const float phase = random.unit(), hardness = random.between(1, 5);
  const float bend = random.chance(0.5f) ? random.between(0.3f, 1.5f) : 0;
  const Field warp = noise(random, size, float(size) * random.between(0.2f, 0.5f), 2, 0.5f);
  return fill(size, [&](float x, float y, int column, int row) {
    const float at =
        (x * axis.x + y * axis.y) / period + phase + bend * warp[std::size_t(row) * size + column];
    return smooth((triangle_wave(at) - 0.5f) * hardness + 0.5f);
  });
}

// A turned chessboard, or dots where its two waves meet softly.
Field checks(Random& random, int size, bool fine) {
  const Point axis = direction(random.unit());
  const float period = std::max(4.0f, float(size) * random.between(0.05f, fine ? 0.08f : 0.16f));
  const float phase_x = random.unit(), phase_y = random.unit(), hardness = random.between(2, 12);
  return fill(size, [&](float x, float y, int, int) {
    const float u = triangle_wave((x * axis.x + y * axis.y) / period + phase_x) - 0.5f;
    const float v = triangle_wave((y * axis.x - x * axis.y) / period + phase_y) - 0.5f;
    return smooth(u * v * 4 * hardness + 0.5f);
  });
}

// Grains of one to three pixels at 128 pixels a side, each of its own shade.
Field speckle(Random& random, int size) {
  const float grain = std::max(1.0f, float(size) * random.between(0.008f, 0.024f));
  const int lattice = int(float(size) / grain) + 2;
  const float sparse = random.between(0.5f, 2);
  Field values(std::size_t(lattice) * lattice);
  for (float& v : values) v = std::clamp((random.unit() - 0.5f) * sparse + 0.5f, 0.0f, 1.0f);
  return fill(size, [&](float x, float y, int, int) {
    return values[std::size_t(y / grain) * lattice + std::size_t(x / grain)];
  });
}

// Every pixel has the shade of the nearest of a jittered lattice of points (S. Worley, "A cellular texture basis
// function", 1996).
Field cells(Random& random, int size, bool fine) {
  const float cell = std::max(3.0f, float(size) * random.between(0.05f, fine ? 0.08f : 0.13f));
  const int lattice = int(float(size) / cell) + 4;
  struct Site {
    float x, y, shade;
  };
  std::vector<Site> sites;
  for (int y = 0; y < lattice; ++y)
    for (int x = 0; x < lattice; ++x) {
      const float jitter_x = random.unit(), jitter_y = random.unit();
      sites.push_back({(float(x - 1) + jitter_x) * cell, (float(y - 1) + jitter_y) * cell, random.unit()});
    }
  return fill(size, [&](float x, float y, int, int) {
    const int column = int(x / cell) + 1, row = int(y / cell) + 1;
    float nearest = 1e30f, shade = 0;
    for (int j = row - 1; j <= row + 1; ++j)
      for (int i = column - 1; i <= column + 1; ++i) {
        const Site& site = sites[std::size_t(j) * lattice + i];
        const float dx = site.x - x, dy = site.y - y, square = dx * dx + dy * dy;
        shade = square < nearest ? site.shade : shade;
        nearest = std::min(nearest, square);
      }
    return shade;
  });
}

}  // namespace

Colour random_colour(Random& random) {
  const float r = random.unit(), g = random.unit(), b = random.unit();
  if (random.chance(0.5f)) return {r * 255, g * 255, b * 255};
  const float grey = random.between(20, 235), spread = random.between(0, 70);
  const auto channel = [&](float v) { return std::clamp(grey + (v - 0.5f) * spread, 0.0f, 255.0f); };
  return {channel(r), channel(g), channel(b)};
}

Colour blend(Colour a, Colour b, float t) {
  return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

float difference(Colour a, Colour b) {
  const float r = a.r - b.r, g = a.g - b.g, bl = a.b - b.b;
  return std::sqrt(r * r + g * g + bl * bl);
}

Field noise(Random& random, int size, float cell, int octaves, float persistence) {
  Field field(std::size_t(size) * size);
  float weight = 1, sum = 0, squares = 0;
  for (int i = 0; i < octaves && (i == 0 || cell >= 1.5f); ++i) {
    add_octave(random, size, std::max(cell, 1.0f), weight, field);
    sum += weight, squares += weight * weight;
    cell /= 2, weight *= persistence;
  }
  // A sum of independent octaves spreads like the root of the sum of squares, not like the sum.
  const float stretch = 1.4f / std::sqrt(squares);
  for (float& v : field) v = std::clamp((v - sum / 2) * stretch + 0.5f, 0.0f, 1.0f);
  return field;
}

Field draw_pattern(Pattern pattern, Random& random, int size, bool fine) {
  switch (pattern) {
    case Pattern::gradient:
      return gradient(random, size);
    case Pattern::radial:
      return radial(random, size);
    case Pattern::stripes:
      return stripes(random, size, fine);
    case Pattern::checks:
      return checks(random, size, fine);
    case Pattern::speckle:
      return speckle(random, size);
    case Pattern::cells:
      return cells(random, size, fine);
    case Pattern::noise:
      break;
  }
  const float cell = float(size) * (fine ? random.between(0.03f, 0.1f) : random.between(0.05f, 0.6f));
  const int octaves = 2 + int(random.below(4));
  return noise(random, size, cell, octaves, random.between(0.4f, 0.8f));
}

namespace {

// One pattern in two colours that differ by anything from a little to everything.
void paint_pattern(Canvas& canvas, Random& random) {
  const Colour a = random_colour(random);
  const Colour far = random_colour(random), b = blend(a, far, random.between(0.25f, 1));
  const Field field = draw_pattern(Pattern(random.below(pattern_count)), random, canvas.size, false);
  for (std::size_t i = 0; i < field.size(); ++i) canvas.pixels[i] = blend(a, b, field[i]);
}

}  // namespace

void paint_background(Canvas& canvas, Random& random) {
  paint_pattern(canvas, random);
  const float side = float(canvas.size);
  if (random.chance(0.35f)) {
    Canvas other(canvas.size);
    paint_pattern(other, random);
    const Field where = noise(random, canvas.size, side * random.between(0.3f, 0.8f), 2, 0.4f);
    const float hardness = random.between(1, 6);
    for (std::size_t i = 0; i < where.size(); ++i)
      canvas.pixels[i] =
          blend(canvas.pixels[i], other.pixels[i], smooth((where[i] - 0.5f) * hardness + 0.5f));
  }
  if (random.chance(0.5f)) {
    const Field light = noise(random, canvas.size, side * random.between(0.3f, 1), 2, 0.5f);
    const float strength = random.between(0, 70);
    for (std::size_t i = 0; i < light.size(); ++i) {
      const float add = (light[i] - 0.5f) * strength;
      Colour& p = canvas.pixels[i];
      p = {p.r + add, p.g + add, p.b + add};
    }
  }
  for (Colour& p : canvas.pixels)
    p = {std::clamp(p.r, 0.0f, 255.0f), std::clamp(p.g, 0.0f, 255.0f), std::clamp(p.b, 0.0f, 255.0f)};
}

}  // namespace retrace::data::scenes
