#include "tools/data/scenes/distractors.h"

#include <algorithm>
#include <cmath>

#include "tools/data/scenes/shapes.h"

namespace retrace::data::scenes {

namespace {

struct Ink {
  Colour colour;
  float opacity;
};

void lay(Colour& pixel, const Ink& ink, float coverage) {
  pixel = blend(pixel, ink.colour, ink.opacity * std::clamp(coverage, 0.0f, 1.0f));
}

// Visits the pixels of a box of half-size `reach` about the segment from a to b.
template <class Visit>
void near_segment(const Canvas& canvas, Point a, Point b, float reach, Visit visit) {
  const auto clip = [&](float v) { return int(std::clamp(v, 0.0f, float(canvas.size))); };
  const int left = clip(std::min(a.x, b.x) - reach), right = clip(std::max(a.x, b.x) + reach + 1);
  const int top = clip(std::min(a.y, b.y) - reach), bottom = clip(std::max(a.y, b.y) + reach + 1);
  for (int y = top; y < bottom; ++y)
    for (int x = left; x < right; ++x) visit(x, y, Point{float(x) + 0.5f, float(y) + 0.5f});
}

float segment_distance(Point a, Point b, Point p) {
  const Point along{b.x - a.x, b.y - a.y}, to{p.x - a.x, p.y - a.y};
  const float square = along.x * along.x + along.y * along.y;
  const float t = square > 0 ? std::clamp((to.x * along.x + to.y * along.y) / square, 0.0f, 1.0f) : 0;
  const float x = to.x - along.x * t, y = to.y - along.y * t;
  return std::sqrt(x * x + y * y);
}

void draw_segment(Canvas& canvas, Point a, Point b, float width, const Ink& ink) {
  near_segment(canvas, a, b, width / 2 + 1, [&](int x, int y, Point p) {
    lay(canvas.at(x, y), ink, width / 2 + 0.5f - segment_distance(a, b, p));
  });
}

// A quadratic Bézier curve as a chain of chords; all of it is one layer, so that joints are not laid twice.
void draw_curve(Canvas& canvas, Point a, Point b, Point c, float width, const Ink& ink) {
  constexpr int chords = 10;
  Field nearest(canvas.pixels.size(), 1e9f);
  Point from = a;
  for (int i = 1; i <= chords; ++i) {
    const float t = float(i) / chords, u = 1 - t;
    const Point to{u * u * a.x + 2 * u * t * b.x + t * t * c.x, u * u * a.y + 2 * u * t * b.y + t * t * c.y};
    near_segment(canvas, from, to, width / 2 + 1, [&](int x, int y, Point p) {
      float& d = nearest[std::size_t(y) * canvas.size + x];
      d = std::min(d, segment_distance(from, to, p));
    });
    from = to;
  }
  for (std::size_t i = 0; i < nearest.size(); ++i)
    if (nearest[i] < width) lay(canvas.pixels[i], ink, width / 2 + 0.5f - nearest[i]);
}

// Noise decides where it is and what it looks like; it fades out towards `radius`.
void draw_patch(Canvas& canvas, Random& random, Point centre, float radius, const Ink& ink) {
  const Field edge = noise(random, canvas.size, radius * 0.7f, 3, 0.6f);
  const Field shade = noise(random, canvas.size, std::max(1.5f, radius * 0.2f), 2, 0.6f);
  const Colour other = random_colour(random);
  near_segment(canvas, centre, centre, radius, [&](int x, int y, Point p) {
    const std::size_t i = std::size_t(y) * canvas.size + x;
    const float away = segment_distance(centre, centre, p) / radius;
    lay(canvas.at(x, y), {blend(ink.colour, other, shade[i]), ink.opacity},
        (edge[i] * 1.4f - away - 0.1f) * 3);
  });
}

}  // namespace

void paint_distractor(Canvas& canvas, Random& random) {
  const float side = float(canvas.size);
  const auto anywhere = [&] {
    const float x = random.unit() * side;
    return Point{x, random.unit() * side};
  };
  const auto from = [&](Point p, float length) {
    const Point d = direction(random.unit());
    return Point{p.x + d.x * length, p.y + d.y * length};
  };
  const Colour colour = random_colour(random);
  const Ink ink{colour, random.between(0.5f, 1)};
  const float width = std::max(0.8f, side * random.between(0.004f, 0.016f));
  switch (random.below(5)) {
    case 0: {
      const Point a = anywhere();
      draw_segment(canvas, a, from(a, side * random.between(0.4f, 1.2f)), width, ink);
      break;
    }
    case 1:
      for (int i = 0, n = 2 + int(random.below(6)); i < n; ++i) {
        const Point a = anywhere();
        draw_segment(canvas, a, from(a, side * random.between(0.03f, 0.1f)), width, ink);
      }
      break;
    case 2:
      for (int i = 0, n = 3 + int(random.below(10)); i < n; ++i) {
        const Point a = anywhere();
        draw_segment(canvas, a, a, std::max(1.5f, side * random.between(0.012f, 0.035f)), ink);
      }
      break;
    case 3: {
      const Point a = anywhere(), b = from(a, side * random.between(0.2f, 0.5f));
      draw_curve(canvas, a, b, from(b, side * random.between(0.2f, 0.5f)), width, ink);
      break;
    }
    default: {
      const Point centre = anywhere();
      draw_patch(canvas, random, centre, side * random.between(0.1f, 0.25f), ink);
    }
  }
}

}  // namespace retrace::data::scenes
