// Masks made wider.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "attribution/measures/mask.h"
#include "kernels/error.h"

namespace retrace::measures {
namespace {

Mask of(const std::string& drawing) {
  Mask mask;
  for (const char c : drawing)
    if (c != ' ') mask.push_back(c == '#');
  return mask;
}

TEST_CASE("a disc around one pixel") {
  const Mask one = of(".....   .....   ..#..   .....   .....");
  CHECK(dilate_disc(one, 5, 5, 0) == one);
  CHECK(dilate_disc(one, 5, 5, 0.9) == one);
  CHECK(dilate_disc(one, 5, 5, 1) == of(".....   ..#..   .###.   ..#..   ....."));
  CHECK(dilate_disc(one, 5, 5, 1.5) == of(".....   .###.   .###.   .###.   ....."));
  CHECK(dilate_disc(one, 5, 5, 2) == of("..#..   .###.   #####   .###.   ..#.."));
  // 3 pixels: 29 of them (29 points of the integer grid have x² + y² ≤ 9).
  Mask large(11 * 11, 0);
  large[5 * 11 + 5] = 1;
  CHECK(area(dilate_disc(large, 11, 11, 3)) == 29);
  CHECK(area(dilate_disc(large, 11, 11, 1e9)) == 121);
}

TEST_CASE("the disc is cut off at the edges, and every pixel is within the distance") {
  Mask mask(7 * 12, 0);
  mask[0] = mask[3 * 12 + 11] = mask[6 * 12 + 4] = 255;
  for (const double r : {0.0, 1.0, 2.3, 3.0, 5.0}) {
    const Mask wide = dilate_disc(mask, 7, 12, r);
    for (int y = 0; y < 7; ++y)
      for (int x = 0; x < 12; ++x) {
        const bool near =
            std::hypot(y, x) <= r || std::hypot(y - 3, x - 11) <= r || std::hypot(y - 6, x - 4) <= r;
        CHECK((wide[std::size_t(y * 12 + x)] != 0) == near);
      }
  }
}

TEST_CASE("a cell in each direction") {
  Mask mask(8 * 16, 0);
  mask[4 * 16 + 1] = 1;
  // A grid of 4 x 4 over 8 x 16: cells of 2 x 4 pixels.
  const Mask wide = dilate_cell(mask, 8, 16, 4, 4);
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 16; ++x)
      CHECK((wide[std::size_t(y * 16 + x)] != 0) == (std::abs(y - 4) <= 2 && x <= 5));
  // One cell is the picture.
  CHECK(area(dilate_cell(mask, 8, 16, 1, 1)) == 8 * 16);
  CHECK(area(dilate_cell(Mask(128, 0), 8, 16, 1, 1)) == 0);
}

TEST_CASE("union, and wrong sizes") {
  CHECK(unite(of("#..#"), of("##..")) == of("##.#"));
  CHECK_THROWS_AS(unite(of("#..#"), of("##.")), Error);
  CHECK_THROWS_AS(dilate_disc(of("#..#"), 2, 3, 1), Error);
  CHECK_THROWS_AS(dilate_disc(of("#..#"), 2, 2, -1), UsageError);
  CHECK_THROWS_AS(dilate_disc(of("#..#"), 2, 2, std::nan("")), UsageError);
  CHECK_THROWS_AS(dilate_cell(of("#..#"), 2, 2, 0, 1), Error);
}

}  // namespace
}  // namespace retrace::measures
