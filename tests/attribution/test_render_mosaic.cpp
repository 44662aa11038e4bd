// Mosaics of feature maps.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "attribution/render/colormap.h"
#include "attribution/render/mosaic.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

int count(const Picture& p, Rgb colour) {
  int n = 0;
  for (std::size_t i = 0; i < p.rgb.size(); i += 3) n += Rgb{p.rgb[i], p.rgb[i + 1], p.rgb[i + 2]} == colour;
  return n;
}

// [2, 2, 4]: channel c is values[c] everywhere.
std::vector<float> constant(std::vector<float> values) {
  std::vector<float> a;
  for (int i = 0; i < 4; ++i) a.insert(a.end(), values.begin(), values.end());
  return a;
}

TEST_CASE("all channels in their order, one scale") {
  const Mosaic m = render_mosaic(constant({0.25f, 1, 0, 0.5f}), 2, 2, 4, {.percentile = 100});
  CHECK(m.channels == std::vector<int>{0, 1, 2, 3});
  CHECK(m.zero == std::vector<int>{2});
  CHECK(m.scale == Scale::sequential);
  CHECK(m.clip == 1);
  CHECK_FALSE(m.all_zero);
  // Tiles of 48 x 48 pixels, in colours that appear nowhere else.
  CHECK(count(m.picture, sequential(1)) == 48 * 48);
  CHECK(count(m.picture, sequential(0.25f)) == 48 * 48);
  CHECK(count(m.picture, sequential(0.5f)) == 48 * 48);
}

TEST_CASE("the strongest channels by mean magnitude, strongest first, equals by number") {
  const std::vector<float> a = constant({0.25f, -1, 0.5f, 1});
  CHECK(render_mosaic(a, 2, 2, 4, {.strongest = 3}).channels == std::vector<int>{1, 3, 2});
  CHECK(render_mosaic(a, 2, 2, 4, {.strongest = 9}).channels == std::vector<int>{1, 3, 2, 0});
}

TEST_CASE("negative values make it diverging") {
  const Mosaic m = render_mosaic(constant({-1, 0.5f, 0, 1}), 2, 2, 4, {.percentile = 100});
  CHECK(m.scale == Scale::diverging);
  CHECK(count(m.picture, diverging(-1)) == 48 * 48);
  CHECK(count(m.picture, diverging(1)) == 48 * 48);
  CHECK(count(m.picture, diverging(0.5f)) == 48 * 48);
}

TEST_CASE("each tile may have its own scale") {
  const Mosaic m = render_mosaic(constant({0.25f, 1, 0, 0.5f}), 2, 2, 4, {.scale_each = true});
  CHECK(count(m.picture, sequential(1)) == 3 * 48 * 48);
  CHECK(m.clip == 1);
}

TEST_CASE("pixels are where they belong") {
  // One channel, [2, 3].
  const std::vector<float> a{0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 1};
  const Mosaic m = render_mosaic(a, 2, 3, 1, {.percentile = 100});
  int x0 = -1, y0 = -1;
  for (int y = 0; y < m.picture.height && x0 < 0; ++y)
    for (int x = 0; x < m.picture.width && x0 < 0; ++x) {
      const std::uint8_t* const p = m.picture.pixel(x, y);
      if (Rgb{p[0], p[1], p[2]} == sequential(0.1f)) x0 = x, y0 = y;
    }
  REQUIRE(x0 >= 0);
  for (int y = 0; y < 2; ++y)
    for (int x = 0; x < 3; ++x) {
      const std::uint8_t* const p = m.picture.pixel(x0 + 16 * x + 15, y0 + 16 * y + 15);
      CHECK(Rgb{p[0], p[1], p[2]} == sequential(a[std::size_t(3 * y + x)]));
    }
}

TEST_CASE("large layers shrink until they fit, by means") {
  constexpr int side = 80, channels = 40;
  std::vector<float> a(side * side * channels, 0);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x)
      for (int c = 0; c < channels; ++c) a[std::size_t((y * side + x) * channels + c)] = float((x + y) % 2);
  const Mosaic m = render_mosaic(a, side, side, channels, {.most_side = 512});
  CHECK(m.picture.width <= 512);
  CHECK(m.picture.height <= 512);
  CHECK(m.channels.size() == channels);
  // Squares of 2 x 2, each with a chequerboard's mean.
  CHECK(count(m.picture, sequential(0.5f)) == 40 * 40 * channels);
  // 4000 tiles of one pixel take 7 x 17 pixels each with label and gap.
  const std::vector<float> many(2 * 2 * 4000, 1);
  CHECK_THROWS_WITH_AS(render_mosaic(many, 2, 2, 4000, {.most_side = 512}),
                       doctest::Contains("even with tiles"), Error);
  CHECK_THROWS_AS(render_mosaic(many, 2, 2, 4000, {.most_side = 511}), UsageError);
}

TEST_CASE("without a number of columns the page is about square and its last row full if possible") {
  const std::vector<float> a(7 * 7 * 64, 1);
  const Mosaic m = render_mosaic(a, 7, 7, 64);
  // 8 x 8 tiles of 49 x 49 pixels, 6 apart.
  CHECK(m.picture.width == 12 + 8 * (49 + 6) - 6 + 12);
}

TEST_CASE("the number of columns can be given") {
  const std::vector<float> a(7 * 7 * 12, 1);
  const Mosaic tall = render_mosaic(a, 7, 7, 12, {.columns = 1}),
               wide = render_mosaic(a, 7, 7, 12, {.columns = 12});
  CHECK(tall.picture.height > 12 * 49);
  CHECK(wide.picture.width > 12 * 49);
  CHECK(wide.picture.height < 2 * 49 + 60);
}

TEST_CASE("a layer of zeros says so; what cannot be drawn is an error") {
  const Mosaic m = render_mosaic(std::vector<float>(16, 0), 2, 2, 4);
  CHECK(m.all_zero);
  CHECK(m.clip == 0);
  CHECK(m.zero.size() == 4);
  CHECK(count(m.picture, {0, 0, 0}) > 50);  // the words
  std::vector<float> bad(16, 0);
  bad[6] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(render_mosaic(bad, 2, 2, 4), doctest::Contains("channel 2"), Error);
  CHECK_THROWS_AS(render_mosaic(bad, 2, 2, 5), Error);
  CHECK_THROWS_AS(render_mosaic(std::vector<float>(16, 0), 2, 2, 4, {.strongest = -1}), UsageError);
  CHECK_THROWS_AS(render_mosaic(std::vector<float>(16, 0), 2, 2, 4, {.percentile = 0}), UsageError);
}

}  // namespace
}  // namespace retrace::render
