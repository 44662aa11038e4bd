#include "tools/data/scenes/shapes.h"

#include <algorithm>
#include <cmath>

namespace retrace::data::scenes {

namespace {

constexpr float half_root = 0.70710678f;

float length(Point p) {
  return std::sqrt(p.x * p.x + p.y * p.y);
}

// The nearest edge gives the distance, the parity of edges crossed by a ray to the right the sign.
float polygon_distance(const std::vector<Point>& corners, Point p) {
  float nearest = 1e30f;
  bool inside = false;
  Point a = corners.back();
  for (const Point b : corners) {
    const Point edge{b.x - a.x, b.y - a.y}, to{p.x - a.x, p.y - a.y};
    const float along = (to.x * edge.x + to.y * edge.y) / (edge.x * edge.x + edge.y * edge.y);
    const float t = std::clamp(along, 0.0f, 1.0f);
    const Point off{to.x - edge.x * t, to.y - edge.y * t};
    nearest = std::min(nearest, off.x * off.x + off.y * off.y);
    if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + (p.y - a.y) / (b.y - a.y) * edge.x) inside = !inside;
    a = b;
  }
  return inside ? -std::sqrt(nearest) : std::sqrt(nearest);
}

}  // namespace

Point direction(float turns) {
  const double quarters = (double(turns) - std::floor(double(turns))) * 4;
  const int quadrant = int(quarters + 0.5);  // the nearest axis
  const double x = (quarters - quadrant) * 1.5707963267948966, s = x * x;
  // Taylor series for |x| ≤ π/4, errors below 1e-11.
  const double sine = x * (1 + s * (-1.0 / 6 + s * (1.0 / 120 + s * (-1.0 / 5040 + s * (1.0 / 362880)))));
  const double cosine =
      1 + s * (-0.5 + s * (1.0 / 24 + s * (-1.0 / 720 + s * (1.0 / 40320 + s * (-1.0 / 3628800)))));
  switch (quadrant & 3) {
    case 0:
      return {float(cosine), float(sine)};
    case 1:
      return {float(-sine), float(cosine)};
    case 2:
      return {float(-cosine), float(-sine)};
    default:
      return {float(sine), float(-cosine)};
  }
}

const std::vector<std::string>& shape_labels() {
  static const std::vector<std::string> labels{"circle", "square", "triangle", "star",
                                               "cross",  "ring",   "crescent", "heart"};
  return labels;
}

Figure::Figure(Shape shape, Point centre, float radius, float turns, float trait)
    : shape_(shape), centre_(centre), axis_(direction(turns)), radius_(radius) {
  switch (shape) {
    case Shape::circle:
    case Shape::heart:
      break;
    case Shape::square:
      for (int i = 0; i < 4; ++i) corners_.push_back(direction((float(i) + 0.5f) / 4));
      break;
    case Shape::triangle:
      for (int i = 0; i < 3; ++i) corners_.push_back(direction(float(i) / 3));
      break;
    case Shape::star: {
      const float inner = 0.36f + 0.12f * trait;
      for (int i = 0; i < 10; ++i) {
        const Point corner = direction(float(i) / 10);
        const float reach = i % 2 ? inner : 1;
        corners_.push_back({corner.x * reach, corner.y * reach});
      }
      break;
    }
    case Shape::cross: {
      const float half = 0.2f + 0.1f * trait, arm = std::sqrt(1 - half * half);
      for (int i = 0; i < 4; ++i) {
        const Point u = direction(float(i) / 4), v{-u.y, u.x};
        for (const Point corner : {Point{arm, -half}, Point{arm, half}, Point{half, half}})
          corners_.push_back({u.x * corner.x + v.x * corner.y, u.y * corner.x + v.y * corner.y});
      }
      break;
    }
    case Shape::ring:
      thickness_ = 0.16f + 0.08f * trait;
      break;
    case Shape::crescent:
      thickness_ = 0.78f + 0.08f * trait;
      offset_ = 0.5f;
      break;
  }
}

float Figure::unit_distance(Point p) const {
  switch (shape_) {
    case Shape::circle:
      return length(p) - 1;
    case Shape::ring:
      return std::abs(length(p) - (1 - thickness_)) - thickness_;
    case Shape::crescent:
      return std::max(length(p) - 1, thickness_ - length({p.x - offset_, p.y}));
    case Shape::heart: {
      // A square standing on a corner and a disc on each of its upper sides, of half-side and radius s. The circle that
      // touches the discs from outside and passes through the lower corner has radius 1 and its centre `rise` above the
      // square's.
      constexpr float rise = 0.20710678f, s = 0.56066017f;  // (√2 - 1) / 2, (1 - rise) / √2
      const Point q{std::abs(p.x), p.y - rise};
      const Point disc{q.x - half_root * s, q.y + half_root * s};
      const Point turned{std::abs(q.x + q.y) * half_root - s, std::abs(q.x - q.y) * half_root - s};
      const float square = length({std::max(turned.x, 0.0f), std::max(turned.y, 0.0f)}) +
                           std::min(std::max(turned.x, turned.y), 0.0f);
      return std::min(square, length(disc) - s);
    }
    default:
      return polygon_distance(corners_, p);
  }
}

float Figure::distance(Point p) const {
  const float x = (p.x - centre_.x) / radius_, y = (p.y - centre_.y) / radius_;
  return unit_distance({x * axis_.x + y * axis_.y, y * axis_.x - x * axis_.y}) * radius_;
}

std::vector<std::uint8_t> Figure::mask(int size) const {
  std::vector<std::uint8_t> out(std::size_t(size) * size);
  const auto bounds = [&](float c) {
    return std::pair(std::max(0, int(c - radius_ - 1)), std::min(size, int(c + radius_ + 2)));
  };
  const auto [left, right] = bounds(centre_.x);
  const auto [top, bottom] = bounds(centre_.y);
  for (int y = top; y < bottom; ++y)
    for (int x = left; x < right; ++x)
      out[std::size_t(y) * size + x] = distance({float(x) + 0.5f, float(y) + 0.5f}) <= 0;
  return out;
}

}  // namespace retrace::data::scenes
