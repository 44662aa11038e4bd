// The classes of the scenes, as geometry.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tools/data/random.h"

namespace retrace::data::scenes {

struct Point {
  float x = 0, y = 0;
};

// (cos, sin) of a fraction of a whole turn, by polynomials of our own: a math library's last bit is its own affair.
Point direction(float turns);

// Told apart by outline alone, however they are turned.
enum class Shape : std::uint8_t { circle, square, triangle, star, cross, ring, crescent, heart };
constexpr int shape_count = 8;
// Their names, in the order of Shape.
const std::vector<std::string>& shape_labels();

// A shape somewhere in a picture. Pixel (x, y) has its centre at (x + 0.5, y + 0.5).
class Figure {
 public:
  // Inscribed in the circle of this centre and radius, in pixels, and turned. `trait` in [0, 1] is what varies within a
  // class: how pointed a star, how thick a ring, cross or crescent.
  Figure(Shape shape, Point centre, float radius, float turns, float trait);

  Shape shape() const { return shape_; }
  Point centre() const { return centre_; }
  float radius() const { return radius_; }
  // Pixels to the outline, negative inside. Exact near the outline; near the tips of a crescent and inside a heart it
  // may be closer to 0.
  float distance(Point p) const;
  // [size · size], 1 where a pixel's centre lies inside or on the outline.
  std::vector<std::uint8_t> mask(int size) const;

 private:
  float unit_distance(Point p) const;

  Shape shape_;
  Point centre_, axis_;
  float radius_;
  float thickness_ = 0,
        offset_ = 0;            // ring: half its width; crescent: the radius and distance of what is cut out
  std::vector<Point> corners_;  // of polygons, in units of the radius
};

}  // namespace retrace::data::scenes
