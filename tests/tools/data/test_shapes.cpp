// The geometry of the classes against brute force and closed formulas.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "tools/data/scenes/shapes.h"

namespace retrace::data::scenes {
namespace {

constexpr double pi = std::numbers::pi;

// At how many pixels a figure's mask is not what distance(x, y), negative inside, says.
template <class Distance>
int wrong_pixels(const Figure& figure, int size, Distance distance) {
  // A centre as near to the outline as this may fall on either side in float.
  constexpr double doubtful = 1e-3;
  const std::vector<std::uint8_t> mask = figure.mask(size);
  REQUIRE(mask.size() == std::size_t(size) * size);
  int wrong = 0;
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const double d = distance(x + 0.5, y + 0.5);
      wrong += std::abs(d) > doubtful && mask[std::size_t(y) * size + x] != (d < 0);
    }
  return wrong;
}

TEST_CASE("directions are cosines and sines") {
  for (int i = -40; i <= 140; ++i) {
    const float turns = float(i) / 100;
    const Point d = direction(turns);
    // Half a unit in the last place of 1 for the rounding, as much again for the polynomial.
    CHECK(std::abs(d.x - std::cos(2 * pi * double(turns))) < 1.2e-7);
    CHECK(std::abs(d.y - std::sin(2 * pi * double(turns))) < 1.2e-7);
  }
}

TEST_CASE("a circle's and a ring's mask, pixel by pixel") {
  const double x0 = 40.3, y0 = 33.9, r = 21.7, hole = r * (1 - 2 * 0.16);
  const Point centre{float(x0), float(y0)};
  CHECK(wrong_pixels({Shape::circle, centre, float(r), 0.3f, 0.5f}, 80,
                     [&](double x, double y) { return std::hypot(x - x0, y - y0) - r; }) == 0);
  CHECK(wrong_pixels({Shape::ring, centre, float(r), 0.3f, 0}, 80, [&](double x, double y) {
          const double d = std::hypot(x - x0, y - y0);
          return std::max(d - r, hole - d);
        }) == 0);
}

TEST_CASE("a turned square's and a turned cross's mask, pixel by pixel") {
  const double x0 = 37.2, y0 = 41.6, r = 25.1;
  const Point centre{float(x0), float(y0)};
  for (const float turns : {0.0f, 0.07f, 0.125f, 0.4f, 0.81f}) {
    const double c = std::cos(2 * pi * double(turns)), s = std::sin(2 * pi * double(turns));
    const auto own = [&](double x, double y) {  // in the figure's frame
      x -= x0, y -= y0;
      return std::pair(std::abs(x * c + y * s), std::abs(y * c - x * s));
    };
    const double half = r / std::numbers::sqrt2;
    CHECK(wrong_pixels({Shape::square, centre, float(r), turns, 0}, 80, [&](double x, double y) {
            const auto [u, v] = own(x, y);
            return std::max(u, v) - half;
          }) == 0);
    const double width = 0.3 * r, arm = std::sqrt(1 - 0.09) * r;
    CHECK(wrong_pixels({Shape::cross, centre, float(r), turns, 1}, 80, [&](double x, double y) {
            const auto [u, v] = own(x, y);
            return std::min(std::max(u - arm, v - width), std::max(v - arm, u - width));
          }) == 0);
  }
}

TEST_CASE("every shape's area is what geometry says, whatever its turn") {
  const auto area = [](Shape shape, double t) {
    const double inner = 0.36 + 0.12 * t, half = 0.2 + 0.1 * t, arm = std::sqrt(1 - half * half);
    const double hole = 1 - 2 * (0.16 + 0.08 * t);
    switch (shape) {
      case Shape::circle:
        return pi;
      case Shape::square:
        return 2.0;
      case Shape::triangle:
        return 3 * std::sqrt(3.0) / 4;
      case Shape::star:  // ten triangles about the centre
        return 5 * inner * std::sin(pi / 5);
      case Shape::cross:
        return 8 * half * arm - 4 * half * half;
      case Shape::ring:
        return pi * (1 - hole * hole);
      case Shape::crescent: {  // the disc without the lens that another cuts out
        const double r = 0.78 + 0.08 * t, d = 0.5;
        const double a = std::acos((d * d + 1 - r * r) / (2 * d));
        const double b = std::acos((d * d + r * r - 1) / (2 * d * r));
        return pi - (a - std::sin(2 * a) / 2 + r * r * (b - std::sin(2 * b) / 2));
      }
      case Shape::heart: {  // a square and two half discs
        const double s = (3 - std::numbers::sqrt2) / (2 * std::numbers::sqrt2);
        return s * s * (4 + pi);
      }
    }
    return 0.0;
  };
  constexpr int size = 220;
  constexpr float radius = 100;
  for (int i = 0; i < shape_count; ++i)
    for (const float trait : {0.0f, 1.0f})
      for (const float turns : {0.0f, 0.13f, 0.77f}) {
        CAPTURE(shape_labels()[std::size_t(i)]);
        const Figure figure(Shape(i), {110.3f, 109.6f}, radius, turns, trait);
        const std::vector<std::uint8_t> mask = figure.mask(size);
        const double count = std::accumulate(mask.begin(), mask.end(), 0.0);
        // Counting centres errs by a part of the pixels that the outline meets, at most some 900 of 7 500 or more, to
        // either side and mostly cancelling.
        CHECK(count / (double(radius) * double(radius)) ==
              doctest::Approx(area(Shape(i), double(trait))).epsilon(0.01));
      }
}

TEST_CASE("distances grow by a pixel a pixel near the outline, and outlines lie within the circle") {
  constexpr float radius = 60;
  for (int i = 0; i < shape_count; ++i) {
    CAPTURE(shape_labels()[std::size_t(i)]);
    const Figure figure(Shape(i), {70, 70}, radius, 0.21f, 0.4f);
    int near = 0, steep = 0, outside = 0;
    for (int y = 0; y < 140; ++y)
      for (int x = 0; x < 140; ++x) {
        const Point p{float(x) + 0.5f, float(y) + 0.5f};
        const float d = figure.distance(p);
        const float away = std::hypot(p.x - 70, p.y - 70) - radius;
        outside += d < away - 1e-3f;  // nothing outside its circle is inside it
        if (std::abs(d) > 2) continue;
        const float dx = figure.distance({p.x + 0.1f, p.y}) - figure.distance({p.x - 0.1f, p.y});
        const float dy = figure.distance({p.x, p.y + 0.1f}) - figure.distance({p.x, p.y - 0.1f});
        ++near;
        steep += std::abs(std::hypot(dx, dy) - 0.2f) < 0.01f;
      }
    CHECK(outside == 0);
    CHECK(near > 300);
    // But where two parts of an outline are equally near.
    CHECK(steep > near * 9 / 10);
  }
}

}  // namespace
}  // namespace retrace::data::scenes
