// Augmentation against slow and plain versions of itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/error.h"
#include "tests/tools/test_image_files.h"
#include "tools/data/augment.h"

namespace retrace::data {
namespace {

// Where each pixel came from is written in it.
Picture ruler(int width, int height) {
  Picture p = render::blank(width, height, {});
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      p.pixel(x, y)[0] = std::uint8_t(x + 1), p.pixel(x, y)[1] = std::uint8_t(y + 1);
  return p;
}

TEST_CASE("no augmentation changes nothing") {
  const Picture p = pattern(9, 7);
  CHECK(augment(p, {}, 1, 2, 3).rgb == p.rgb);
}

TEST_CASE("a crop moves by every offset, and black comes in") {
  const Picture p = ruler(9, 7);
  std::set<std::pair<int, int>> seen;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const Picture out = augment(p, {.crop = 2}, 1, 0, i);
    REQUIRE(out.width == 9);
    REQUIRE(out.height == 7);
    const int dx = 4 - (int(out.pixel(4, 3)[0]) - 1), dy = 3 - (int(out.pixel(4, 3)[1]) - 1);
    REQUIRE(std::max(std::abs(dx), std::abs(dy)) <= 2);
    seen.insert({dx, dy});
    for (int y = 0; y < 7; ++y)
      for (int x = 0; x < 9; ++x) {
        const int sx = x - dx, sy = y - dy;
        const bool in = sx >= 0 && sy >= 0 && sx < 9 && sy < 7;
        CHECK(int(out.pixel(x, y)[0]) == (in ? sx + 1 : 0));
        CHECK(int(out.pixel(x, y)[1]) == (in ? sy + 1 : 0));
      }
  }
  CHECK(seen.size() == 25);
}

TEST_CASE("a flip mirrors about half of the pictures") {
  const Picture p = pattern(8, 5);
  Picture mirrored = p;
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 8; ++x) std::copy_n(p.pixel(7 - x, y), 3, mirrored.pixel(x, y));
  int flipped = 0;
  for (std::uint64_t i = 0; i < 400; ++i) {
    const Picture out = augment(p, {.flip = true}, 1, 0, i);
    const bool is_mirror = out.rgb == mirrored.rgb;
    CHECK((is_mirror || out.rgb == p.rgb));
    flipped += is_mirror;
  }
  CHECK(std::abs(flipped - 200) < 50);  // five standard deviations
}

TEST_CASE("jitter keeps grey grey, and changes levels within its bounds") {
  const Picture grey = render::blank(4, 4, {100, 100, 100});
  int darkest = 255, brightest = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const Picture out = augment(grey, {.jitter = 0.2f}, 1, 0, i);
    // Of one level, contrast and saturation leave nothing to change.
    for (const std::uint8_t v : out.rgb) REQUIRE(std::abs(int(v) - int(out.rgb[0])) <= 1);
    darkest = std::min(darkest, int(out.rgb[0])), brightest = std::max(brightest, int(out.rgb[0]));
  }
  CHECK(darkest >= 80);
  CHECK(darkest < 85);
  CHECK(brightest <= 120);
  CHECK(brightest > 115);

  // Two greys: their difference is scaled by brightness times contrast, 0.8² to 1.2².
  Picture two = grey;
  std::fill_n(two.rgb.begin(), 24, std::uint8_t(50));
  int least = 255, most = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const Picture out = augment(two, {.jitter = 0.2f}, 1, 0, i);
    const int apart = int(out.rgb.back()) - int(out.rgb.front());
    least = std::min(least, apart), most = std::max(most, apart);
  }
  CHECK(least >= 31);
  CHECK(least < 37);
  CHECK(most <= 73);
  CHECK(most > 64);

  // One strong colour: its chroma is scaled by all three, 0.8³ to 1.2³.
  const Picture red = render::blank(4, 4, {140, 60, 60});
  int pale = 255, strong = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const Picture out = augment(red, {.jitter = 0.2f}, 1, 0, i);
    const int chroma = int(out.rgb[0]) - int(out.rgb[1]);
    CHECK(std::abs(int(out.rgb[1]) - int(out.rgb[2])) <= 1);
    pale = std::min(pale, chroma), strong = std::max(strong, chroma);
  }
  CHECK(pale >= 40);
  CHECK(pale < 51);  // brightness and contrast alone reach 51
  CHECK(strong <= 139);
  CHECK(strong > 115);  // and 115
}

TEST_CASE("a function of seed, epoch and index; one option does not change what another does") {
  const Picture p = pattern(16, 16);
  const Augmentation all{.crop = 3, .flip = true, .jitter = 0.3f};
  const auto out = [&](std::uint64_t seed, std::uint64_t epoch, std::uint64_t index) {
    return augment(p, all, seed, epoch, index).rgb;
  };
  CHECK(out(1, 2, 3) == out(1, 2, 3));
  CHECK(out(1, 2, 3) != out(2, 2, 3));
  CHECK(out(1, 2, 3) != out(1, 3, 3));
  CHECK(out(1, 2, 3) != out(1, 2, 4));
  CHECK(out(1, 2, 3) != out(1, 3, 2));
  for (std::uint64_t i = 0; i < 20; ++i) {
    const Picture moved = augment(ruler(9, 7), {.crop = 2}, 1, 0, i);
    Picture both = augment(ruler(9, 7), {.crop = 2, .flip = true}, 1, 0, i);
    if (both.rgb != moved.rgb) {
      for (int y = 0; y < 7; ++y)
        for (int x = 0; x < 4; ++x)
          std::swap_ranges(both.pixel(x, y), both.pixel(x, y) + 3, both.pixel(8 - x, y));
      CHECK(both.rgb == moved.rgb);
    }
  }
}

TEST_CASE("augmentations as users write them") {
  CHECK(parse_augmentation("") == Augmentation{});
  CHECK(parse_augmentation("none") == Augmentation{});
  const Augmentation all{.crop = 4, .flip = true, .jitter = 0.25f};
  CHECK(parse_augmentation("jitter=0.25,crop=4,flip") == all);
  CHECK(to_string(all) == "crop=4,flip,jitter=0.25");
  CHECK(parse_augmentation(to_string(all)) == all);
  CHECK(to_string({}) == "none");
  CHECK_THROWS_WITH_AS(parse_augmentation("flip=1"),
                       "augmentation 'flip=1': flip=1, expected 'flip' without a value", UsageError);
  CHECK_THROWS_WITH_AS(parse_augmentation("turn"),
                       "augmentation 'turn': option 'turn', expected crop=N, flip, jitter=X", UsageError);
  for (const char* text :
       {"crop", "crop=-1", "crop=1.5", "jitter=1.1", "jitter=nan", "jitter=-0.1", "crop=4;flip", ","})
    CHECK_THROWS_AS(parse_augmentation(text), UsageError);
  CHECK_THROWS_AS(augment(pattern(9, 7), {.crop = 7}, 1, 0, 0), UsageError);
}

}  // namespace
}  // namespace retrace::data
