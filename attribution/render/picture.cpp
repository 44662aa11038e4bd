#include "attribution/render/picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace retrace::render {

void check_picture(const Picture& picture) {
  if (picture.width <= 0 || picture.height <= 0 ||
      picture.rgb.size() != std::size_t(picture.width) * picture.height * 3)
    throw Error(fmt::format("a picture of {} x {} pixels has {} bytes of colour, expected {}", picture.width,
                            picture.height, picture.rgb.size(),
                            std::int64_t(picture.width) * picture.height * 3));
}

Picture blank(int width, int height, Rgb colour) {
  constexpr std::int64_t most = std::int64_t(1) << 28;
  if (width <= 0 || height <= 0 || std::int64_t(width) * height > most)
    throw Error(
        fmt::format("cannot make a picture of {} x {} pixels: sides must be positive and the area at "
                    "most {} pixels",
                    width, height, most));
  Picture picture{width, height, std::vector<std::uint8_t>(std::size_t(width) * height * 3)};
  fill_rectangle(picture, 0, 0, width, height, colour);
  return picture;
}

Picture enlarge(const Picture& picture, int factor) {
  check_picture(picture);
  if (factor < 1) throw Error(fmt::format("cannot enlarge a picture {} times, expected 1 or more", factor));
  if (factor == 1) return picture;
  if (std::max(picture.width, picture.height) > (1 << 28) / factor)
    throw Error(fmt::format("a picture of {} x {} pixels is too large to be enlarged {} times", picture.width,
                            picture.height, factor));
  Picture out = blank(picture.width * factor, picture.height * factor, {});
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x)
      std::copy_n(picture.pixel(x / factor, y / factor), 3, out.pixel(x, y));
  return out;
}

void paste(Picture& target, const Picture& source, int x, int y) {
  const int from = std::max(0, -x), to = std::min(source.width, target.width - x);
  if (from >= to) return;
  for (int row = std::max(0, -y); row < std::min(source.height, target.height - y); ++row)
    std::copy_n(source.pixel(from, row), std::size_t(to - from) * 3, target.pixel(x + from, y + row));
}

void fill_rectangle(Picture& target, int x, int y, int width, int height, Rgb colour) {
  const int x_end = std::min(x + width, target.width), y_end = std::min(y + height, target.height);
  for (int row = std::max(0, y); row < y_end; ++row)
    for (int column = std::max(0, x); column < x_end; ++column) {
      std::uint8_t* const p = target.pixel(column, row);
      p[0] = colour.r, p[1] = colour.g, p[2] = colour.b;
    }
}

}  // namespace retrace::render
