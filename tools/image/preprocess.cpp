#include "tools/image/preprocess.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"
#include "tools/image/resize.h"

namespace retrace::image {
namespace {

// Where the crop lies along one side: `from` in the picture, `to` in the result, `count` pixels of both.
struct Cut {
  int from = 0, to = 0, count = 0;
};

Cut cut_of(std::int64_t size, int crop) {
  if (crop == 0) return {0, 0, int(size)};
  if (size < crop) return {0, int((crop - size) / 2), int(size)};
  // Half to even.
  const std::int64_t spare = size - crop, half = spare / 2;
  return {int(half + (spare % 2 != 0 && half % 2 != 0)), 0, crop};
}

}  // namespace

Preprocessing cifar_preprocessing() {
  Preprocessing p;
  p.resize_shorter = 0;
  p.crop = 32;
  p.exact = true;
  return p;
}

Picture prepare(const Picture& picture, const Preprocessing& p) {
  render::check_picture(picture);
  constexpr std::int64_t most_pixels = std::int64_t(1) << 28;
  if (p.resize_shorter < 0 || p.crop < 0 || p.resize_shorter > 16384 || p.crop > 16384)
    throw UsageError(fmt::format("resize to {} and crop to {} pixels: expected 0 (not at all) to 16384",
                                 p.resize_shorter, p.crop));
  std::int64_t width = picture.width, height = picture.height;
  if (p.exact) {
    if (p.crop == 0) throw UsageError("an exact size of 0 pixels was asked for, expected 1 or more");
    width = height = p.crop;
  } else if (p.resize_shorter > 0) {
    const std::int64_t shorter = std::min(width, height);
    width = width * p.resize_shorter / shorter;
    height = height * p.resize_shorter / shorter;
  }
  const Cut across = cut_of(width, p.crop), down = cut_of(height, p.crop);
  const std::int64_t out_width = p.crop ? p.crop : width, out_height = p.crop ? p.crop : height;
  if (std::max(width, height) > (1 << 30) || out_width * out_height > most_pixels)
    throw Error(fmt::format(
        "a picture of {} x {} pixels is too narrow: resized to {} on its shorter side it would have "
        "{} x {}",
        picture.width, picture.height, p.resize_shorter, width, height));

  const Picture part =
      resize_bilinear(picture, int(width), int(height), {across.from, down.from, across.count, down.count});
  if (part.width == out_width && part.height == out_height) return part;
  Picture out = render::blank(int(out_width), int(out_height), {0, 0, 0});
  render::paste(out, part, across.to, down.to);
  return out;
}

}  // namespace retrace::image
