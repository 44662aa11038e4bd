// Resizing against Pillow's bits, cropping against torchvision's arithmetic.
#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/error.h"
#include "tests/tools/test_image_files.h"
#include "tests/tools/test_image_reference.h"
#include "tools/image/preprocess.h"
#include "tools/image/resize.h"

namespace retrace {
namespace {

using image::prepare;
using image::Preprocessing;
using image::resize_bilinear;

Preprocessing plain(int shorter, int crop) {
  Preprocessing p;
  p.resize_shorter = shorter;
  p.crop = crop;
  return p;
}

// A picture whose pixel (x, y) says where it is.
Picture ruler(int width, int height) {
  Picture p = render::blank(width, height, {});
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      p.pixel(x, y)[0] = std::uint8_t(x + 1), p.pixel(x, y)[1] = std::uint8_t(y + 1);
  return p;
}

TEST_CASE("bilinear resizing gives Pillow's bits") {
  const auto check = [](int width, int height, int to_width, int to_height,
                        std::span<const unsigned char> expected) {
    const Picture p = resize_bilinear(pattern(width, height), to_width, to_height);
    CHECK(p.width == to_width);
    CHECK(p.height == to_height);
    CHECK(std::equal(p.rgb.begin(), p.rgb.end(), expected.begin(), expected.end()));
  };
  check(23, 17, 9, 7, reference::smaller);
  check(7, 5, 16, 11, reference::larger);
  check(19, 6, 8, 13, reference::mixed);
  check(20, 20, 19, 21, reference::slightly);
}

TEST_CASE("a window is that part of the whole") {
  const Picture source = pattern(40, 30), whole = resize_bilinear(source, 17, 23);
  for (const image::Window w : {image::Window{0, 0, 17, 23}, {3, 5, 6, 7}, {16, 22, 1, 1}, {0, 20, 17, 3}}) {
    const Picture part = resize_bilinear(source, 17, 23, w);
    REQUIRE(part.width == w.width);
    REQUIRE(part.height == w.height);
    for (int y = 0; y < w.height; ++y)
      CHECK(std::equal(part.pixel(0, y), part.pixel(0, y) + w.width * 3, whole.pixel(w.left, w.top + y)));
  }
  CHECK_THROWS_AS(resize_bilinear(source, 17, 23, {10, 0, 8, 1}), Error);
  CHECK_THROWS_AS(resize_bilinear(source, 0, 23), Error);
}

TEST_CASE("the same size is the same picture") {
  const Picture p = pattern(13, 9);
  CHECK(resize_bilinear(p, 13, 9).rgb == p.rgb);
}

TEST_CASE("the shorter side is resized, the longer rounded down") {
  // torchvision: int(7 * 100 / 33) = 21.
  Picture p = prepare(pattern(100, 33), plain(7, 0));
  CHECK(p.width == 21);
  CHECK(p.height == 7);
  p = prepare(pattern(33, 100), plain(7, 0));
  CHECK(p.width == 7);
  CHECK(p.height == 21);
  CHECK(p.rgb == resize_bilinear(pattern(33, 100), 7, 21).rgb);
}

TEST_CASE("the crop is torchvision's, odd remainders rounded half to even") {
  // Spare pixels 0 … 6: Python's round(0.5) = 0, round(1.5) = 2, round(2.5) = 2.
  const int expected[] = {0, 0, 1, 2, 2, 2, 3};
  for (int spare = 0; spare < 7; ++spare) {
    const Picture p = prepare(ruler(10 + spare, 10), plain(0, 10));
    CHECK(p.width == 10);
    CHECK(p.height == 10);
    CHECK(p.pixel(0, 0)[0] == expected[spare] + 1);
    CHECK(prepare(ruler(10, 10 + spare), plain(0, 10)).pixel(0, 0)[1] == expected[spare] + 1);
  }
}

TEST_CASE("where the picture is smaller than the crop, black is added") {
  // Missing 3: one pixel before, two after. The other side is cut as usual.
  const Picture p = prepare(ruler(7, 12), plain(0, 10));
  REQUIRE(p.width == 10);
  REQUIRE(p.height == 10);
  const int first_row[] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 0};
  for (int x = 0; x < 10; ++x) {
    CHECK(p.pixel(x, 0)[0] == first_row[x]);
    CHECK(p.pixel(x, 9)[1] == (first_row[x] ? 11 : 0));
  }
}

TEST_CASE("resizing and cropping together cut from the resized picture") {
  const Picture source = pattern(61, 47),
                resized = resize_bilinear(source, 41, 32);  // int(32 · 61 / 47) = 41
  const Picture p = prepare(source, plain(32, 28));
  REQUIRE(p.width == 28);
  REQUIRE(p.height == 28);
  // (41 - 28) / 2 = 6.5 → 6; (32 - 28) / 2 = 2.
  for (int y = 0; y < 28; ++y) CHECK(std::equal(p.pixel(0, y), p.pixel(0, y) + 84, resized.pixel(6, y + 2)));
}

TEST_CASE("an exact size") {
  const Preprocessing cifar = image::cifar_preprocessing();
  const Picture right = pattern(32, 32);
  CHECK(prepare(right, cifar).rgb == right.rgb);
  const Picture p = prepare(pattern(60, 40), cifar);
  CHECK(p.width == 32);
  CHECK(p.height == 32);
  CHECK(p.rgb == resize_bilinear(pattern(60, 40), 32, 32).rgb);
}

TEST_CASE("extreme proportions and options") {
  // Resized it would have 256 · 16384 columns, but only the crop is computed.
  const Picture p = prepare(render::blank(16384, 1, {9, 8, 7}), Preprocessing{});
  CHECK(p.width == 224);
  CHECK(p.height == 224);
  CHECK(p.pixel(100, 100)[0] == 9);
  CHECK_THROWS_WITH_AS(prepare(render::blank(16384, 1, {}), plain(256, 0)), doctest::Contains("too narrow"),
                       Error);
  CHECK_THROWS_AS(prepare(pattern(4, 4), plain(-1, 4)), UsageError);
  CHECK_THROWS_AS(prepare(pattern(4, 4), plain(4, 20000)), UsageError);
  CHECK_THROWS_AS(prepare(Picture{}, Preprocessing{}), Error);
}

}  // namespace
}  // namespace retrace
