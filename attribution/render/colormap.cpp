#include "attribution/render/colormap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace retrace::render {
namespace {

struct Linear {
  double r = 0, g = 0, b = 0;
};
struct Ok {
  double l = 0, a = 0, b = 0;
};

// The sRGB transfer function, IEC 61966-2-1.
double decode(double v) {
  return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
}
double encode(double v) {
  return v <= 0.0031308 ? v * 12.92 : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
}

// The matrices of Ottosson's paper.
Linear to_linear(Ok c) {
  const double l = std::pow(c.l + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
  const double m = std::pow(c.l - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
  const double s = std::pow(c.l - 0.0894841775 * c.a - 1.2914855480 * c.b, 3);
  return {+4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

bool displayable(Ok c) {
  const Linear v = to_linear(c);
  return std::min({v.r, v.g, v.b}) >= 0 && std::max({v.r, v.g, v.b}) <= 1;
}

Ok from_polar(double lightness, double chroma, double degrees) {
  const double h = degrees * std::numbers::pi / 180;
  return {lightness, chroma * std::cos(h), chroma * std::sin(h)};
}

// The largest chroma of this lightness and hue that a screen can show.
double most_chroma(double lightness, double degrees) {
  double low = 0, high = 0.5;
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (displayable(from_polar(lightness, middle, degrees)) ? low : high) = middle;
  }
  return low;
}

Rgb quantise(Ok c) {
  const Linear v = to_linear(c);
  const auto byte = [](double x) { return std::uint8_t(std::lround(255 * encode(std::clamp(x, 0.0, 1.0)))); };
  return {byte(v.r), byte(v.g), byte(v.b)};
}

Ok mix(Ok from, Ok to, double t) {
  return {from.l + t * (to.l - from.l), from.a + t * (to.a - from.a), from.b + t * (to.b - from.b)};
}

double distance(Ok x, Ok y) {
  return std::hypot(x.l - y.l, x.a - y.a, x.b - y.b);
}

// Fine enough that quantising t cannot be seen: neighbours differ by less than one level of 8 bits.
constexpr int entries = 1024;

// Point `u` in [0, 1] of the sequential map's path: a turn of hue from violet through red to yellow while the
// lightness rises, each at nine tenths of the chroma that a screen can show there.
Ok path(double u) {
  const double lightness = 0.13 + 0.82 * u;
  const double hue = -68 + 172 * std::pow(u, 1.15);
  return from_polar(lightness, 0.9 * std::min(most_chroma(lightness, hue), 0.21), hue);
}

std::array<Rgb, entries> make_sequential() {
  constexpr int samples = 4 * entries;
  std::vector<Ok> points(samples + 1);
  std::vector<double> length(samples + 1, 0);
  for (int i = 0; i <= samples; ++i) {
    points[i] = path(double(i) / samples);
    if (i) length[i] = length[i - 1] + distance(points[i - 1], points[i]);
  }
  std::array<Rgb, entries> table;
  int at = 1;
  for (int i = 0; i < entries; ++i) {
    const double wanted = length[samples] * i / (entries - 1);
    while (at < samples && length[at] < wanted) ++at;
    const double part = (wanted - length[at - 1]) / (length[at] - length[at - 1]);
    table[i] = quantise(mix(points[at - 1], points[at], part));
  }
  return table;
}

std::array<Rgb, 2 * entries - 1> make_diverging() {
  constexpr double lightness = 0.47, blue = 262, red = 26;
  const double chroma = std::min(most_chroma(lightness, blue), most_chroma(lightness, red));
  const Ok white{1, 0, 0};
  std::array<Rgb, 2 * entries - 1> table;
  for (int i = 0; i < entries; ++i) {
    const double t = double(i) / (entries - 1);
    table[entries - 1 - i] = quantise(mix(white, from_polar(lightness, chroma, blue), t));
    table[entries - 1 + i] = quantise(mix(white, from_polar(lightness, chroma, red), t));
  }
  return table;
}

}  // namespace

Lab to_oklab(Rgb colour) {
  const double r = decode(colour.r / 255.0), g = decode(colour.g / 255.0), b = decode(colour.b / 255.0);
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return {float(0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s),
          float(1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s),
          float(0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s)};
}

Rgb diverging(float t) {
  static const auto table = make_diverging();
  return table[std::size_t(std::lround((std::clamp(t, -1.0f, 1.0f) + 1) * (entries - 1)))];
}

Rgb sequential(float t) {
  static const auto table = make_sequential();
  return table[std::size_t(std::lround(std::clamp(t, 0.0f, 1.0f) * (entries - 1)))];
}

}  // namespace retrace::render
