// Colour maps, single maps and their layout.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "attribution/render/colormap.h"
#include "attribution/render/layout.h"
#include "attribution/render/render.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

Rgb at(const Picture& p, int x, int y) {
  return {p.pixel(x, y)[0], p.pixel(x, y)[1], p.pixel(x, y)[2]};
}

float distance(Lab x, Lab y) {
  return std::hypot(x.l - y.l, x.a - y.a, x.b - y.b);
}

TEST_CASE("OKLab of known colours") {
  // Ottosson's article: white is (1, 0, 0); linear sRGB red is (0.628, 0.225, 0.126). His constants have ten
  // digits.
  CHECK(distance(to_oklab({255, 255, 255}), {1, 0, 0}) < 1e-3f);
  CHECK(distance(to_oklab({0, 0, 0}), {0, 0, 0}) < 1e-6f);
  CHECK(distance(to_oklab({255, 0, 0}), {0.62796f, 0.22486f, 0.12585f}) < 1e-3f);
}

TEST_CASE("the diverging map is symmetric, white in the middle, blue and red at its ends") {
  CHECK(diverging(0) == Rgb{255, 255, 255});
  CHECK(diverging(1).r > diverging(1).b + 100);
  CHECK(diverging(-1).b > diverging(-1).r + 100);
  CHECK(diverging(7) == diverging(1));
  CHECK(diverging(-7) == diverging(-1));
  for (int i = 1; i <= 64; ++i) {
    const float t = float(i) / 64;
    const Lab red = to_oklab(diverging(t)), blue = to_oklab(diverging(-t));
    // 8-bit colours lie about 0.004 apart.
    CHECK(std::fabs(red.l - blue.l) < 0.005f);
    CHECK(std::fabs(std::hypot(red.a, red.b) - std::hypot(blue.a, blue.b)) < 0.006f);
    CHECK(red.l < to_oklab(diverging(t - 1.0f / 64)).l);
  }
}

TEST_CASE("the sequential map rises in lightness by even steps") {
  constexpr int steps = 32;
  std::vector<float> lengths;
  for (int i = 0; i < steps; ++i) {
    const Lab from = to_oklab(sequential(float(i) / steps)), to = to_oklab(sequential(float(i + 1) / steps));
    CHECK(to.l > from.l);
    lengths.push_back(distance(from, to));
  }
  const auto [least, most] = std::minmax_element(lengths.begin(), lengths.end());
  // 8-bit colours move each end of a step of about 0.04 by up to 0.003; near black sRGB is coarser.
  CHECK(*most / *least < 1.25f);
  CHECK(to_oklab(sequential(0)).l < 0.2f);
  CHECK(to_oklab(sequential(1)).l > 0.9f);
}

TEST_CASE("channels are summed in either layout") {
  const std::vector<float> hwc{1, 10, 100, 2, 20, 200}, chw{1, 2, 10, 20, 100, 200};
  CHECK(channel_sum(hwc, 1, 2, 3, Layout::hwc) == std::vector<float>{111, 222});
  CHECK(channel_sum(chw, 1, 2, 3, Layout::chw) == std::vector<float>{111, 222});
  CHECK_THROWS_AS(channel_sum(hwc, 2, 2, 3, Layout::hwc), Error);
}

TEST_CASE("percentiles are NumPy's") {
  // numpy.percentile([4, 1, 3, 2, 10], [0, 50, 90, 99.5, 100]) = 1, 3, 7.6, 9.88, 10
  std::vector<float> v{4, 1, 3, 2, 10};
  CHECK(percentile_of(v, 0) == 1);
  CHECK(percentile_of(v, 50) == 3);
  CHECK(percentile_of(v, 90) == doctest::Approx(7.6).epsilon(1e-6));
  CHECK(percentile_of(v, 99.5f) == doctest::Approx(9.88).epsilon(1e-6));
  CHECK(percentile_of(v, 100) == 10);
}

TEST_CASE("a signed map: sizes, clip value, colours") {
  std::vector<float> map(32 * 32, 0);
  for (int i = 0; i < 32 * 32; ++i) map[std::size_t(i)] = float(i % 2 ? 1 : -1) * float(i) / 1023;
  const RenderedMap r = render_signed(map, 32, 32);
  CHECK(r.factor == 7);
  CHECK(r.picture.width == 224);
  CHECK(r.picture.height == 224);
  CHECK_FALSE(r.all_zero);
  CHECK(r.scale == Scale::diverging);
  // |value| is i / 1023: its 99.5th percentile is 0.995.
  CHECK(r.clip == doctest::Approx(0.995).epsilon(1e-5));
  CHECK(r.percentile == 99.5f);
  CHECK(at(r.picture, 0, 0) == Rgb{255, 255, 255});
  CHECK(at(r.picture, 223, 223) == diverging(1));
  CHECK(at(r.picture, 216, 223) == diverging(-1));
  for (const auto& [x, y] : {std::pair{5, 9}, {20, 3}, {31, 17}})
    CHECK(at(r.picture, 7 * x + 3, 7 * y + 6) ==
          diverging(map[std::size_t(y) * 32 + std::size_t(x)] / r.clip));
}

TEST_CASE("a negated map has the colours exchanged") {
  std::vector<float> map(64), negated(64);
  for (int i = 0; i < 64; ++i)
    map[std::size_t(i)] = float(i - 31), negated[std::size_t(i)] = -map[std::size_t(i)];
  const RenderedMap p = render_signed(map, 8, 8), n = render_signed(negated, 8, 8);
  CHECK(p.clip == n.clip);
  for (int x = 0; x < 8; ++x) {
    const int pixel = x * p.factor;
    const float t = map[std::size_t(x)] / p.clip;
    CHECK(at(p.picture, pixel, 0) == diverging(t));
    CHECK(at(n.picture, pixel, 0) == diverging(-t));
  }
}

TEST_CASE("a map with few values clips at the largest of them, not at 0") {
  std::vector<float> map(10000, 0);
  map[1234] = -3;
  const RenderedMap r = render_signed(map, 100, 100);
  CHECK(r.clip == 3);
  CHECK(r.percentile == 100);
  CHECK_FALSE(r.all_zero);
  CHECK(at(r.picture, 34 * r.factor, 12 * r.factor) == diverging(-1));
}

TEST_CASE("a map of zeros says so") {
  const std::vector<float> zeros(32 * 32, 0);
  const Picture grey = blank(32, 32, {100, 100, 100});
  for (const RenderedMap& r : {render_signed(zeros, 32, 32), render_cam(zeros, 32, 32, grey)}) {
    CHECK(r.all_zero);
    CHECK(r.clip == 0);
    // White words on a black band: not one colour.
    std::set<int> seen;
    for (std::size_t i = 0; i < r.picture.rgb.size(); i += 3) seen.insert(r.picture.rgb[i]);
    CHECK(seen.contains(0));
    CHECK(seen.contains(255));
  }
  // A CAM that is negative everywhere has nothing to show either.
  CHECK(render_cam(std::vector<float>(4, -1), 2, 2, blank(2, 2, {})).all_zero);
}

TEST_CASE("values that are not finite are an error, never a picture") {
  std::vector<float> map(12, 1);
  map[7] = std::numeric_limits<float>::quiet_NaN();
  map[9] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS(render_signed(map, 3, 4), doctest::Contains("2 of 12"), Error);
  CHECK_THROWS_WITH_AS(render_signed(map, 3, 4), doctest::Contains("y 1, x 3"), Error);
  CHECK_THROWS_AS(render_cam(map, 3, 4, blank(4, 3, {})), Error);
}

TEST_CASE("bad sizes and options are errors") {
  const std::vector<float> map(12, 1);
  CHECK_THROWS_AS(render_signed(map, 3, 5), Error);
  CHECK_THROWS_AS(render_signed(map, 0, 5), Error);
  CHECK_THROWS_AS(render_cam(map, 3, 4, blank(3, 4, {})), Error);
  CHECK_THROWS_AS(render_signed(map, 3, 4, {.percentile = 0}), UsageError);
  CHECK_THROWS_AS(render_signed(map, 3, 4, {.percentile = 100.5f}), UsageError);
  CHECK_THROWS_AS(render_signed(map, 3, 4, {.percentile = std::nanf("")}), UsageError);
  CHECK_THROWS_AS(render_signed(map, 3, 4, {.least_side = 0}), UsageError);
}

TEST_CASE("enlarging") {
  CHECK(enlargement(32, 32, 224) == 7);
  CHECK(enlargement(100, 300, 224) == 3);
  CHECK(enlargement(224, 224, 224) == 1);
  CHECK(enlargement(500, 400, 224) == 1);
  CHECK(enlargement(1, 2000, 224) == 2);  // the longer side's limit of 4096
}

TEST_CASE("a CAM: the picture shines through where the map is weak") {
  // Two pixels; the map is enlarged linearly between their centres.
  const std::vector<float> map{0, 2, 0, 2};
  const Picture under = blank(2, 2, {200, 200, 200});
  const RenderedMap r = render_cam(map, 2, 2, under, {.percentile = 100, .least_side = 16});
  CHECK(r.scale == Scale::sequential);
  CHECK(r.clip == 2);
  CHECK(r.factor == 8);
  // Beyond the outer centres the value stays: 15 % of the map's dark end over a grey of 120.
  const auto blend = [](float cover, Rgb c) {
    const auto one = [&](std::uint8_t v) {
      return std::uint8_t(std::lround(120 + cover * (float(v) - 120)));
    };
    return Rgb{one(c.r), one(c.g), one(c.b)};
  };
  CHECK(at(r.picture, 0, 0) == blend(0.15f, sequential(0)));
  CHECK(at(r.picture, 15, 15) == blend(0.85f, sequential(1)));
  // Pixel 7's centre is 3.5 / 8 of the way from the left centre to the right one.
  CHECK(at(r.picture, 7, 4) == blend(0.15f + 0.7f * 3.5f / 8, sequential(3.5f / 8)));
}

TEST_CASE("colour bars run from end to end") {
  const Picture bar = colour_bar({Scale::diverging, 1.5f}, 301);
  CHECK(bar.width == 301);
  CHECK(at(bar, 0, 0) == diverging(-1));
  CHECK(at(bar, 150, 5) == diverging(0));
  CHECK(at(bar, 300, 0) == diverging(1));
  const Picture cam = colour_bar({Scale::sequential, 1.5f}, 301);
  CHECK(at(cam, 0, 0) == sequential(0));
  CHECK(at(cam, 300, 0) == sequential(1));
}

TEST_CASE("side by side: a small original is enlarged to the map's size") {
  Picture original = blank(32, 32, {10, 20, 30});
  original.pixel(31, 0)[0] = 200;
  std::vector<float> map(32 * 32, 0.5f);
  const std::vector<Panel> panels{{original, "picture"},
                                  panel_of(render_signed(map, 32, 32), "a caption that is long")};
  const Picture p = side_by_side(panels, "title");
  CHECK(p.width == 12 + 224 + 12 + 224 + 12);
  // Somewhere in the column of the first panel its pixels appear as squares of 7.
  int seen = 0;
  for (int y = 0; y < p.height; ++y)
    for (int x = 0; x < p.width; ++x) seen += at(p, x, y) == Rgb{200, 20, 30};
  CHECK(seen == 49);
  int full = 0;
  for (int y = 0; y < p.height; ++y) full += at(p, 12 + 224 + 12 + 100, y) == diverging(1);
  CHECK(full >= 224);
  CHECK_THROWS_AS(side_by_side({}), Error);
}

}  // namespace
}  // namespace retrace::render
