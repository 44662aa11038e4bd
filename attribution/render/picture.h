// An 8-bit colour picture on the host.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace retrace {

// sRGB, HWC: byte (y · width + x) · 3 + channel.
struct Picture {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;

  std::uint8_t* pixel(int x, int y) { return rgb.data() + (std::size_t(y) * width + x) * 3; }
  const std::uint8_t* pixel(int x, int y) const { return rgb.data() + (std::size_t(y) * width + x) * 3; }
};

namespace render {

struct Rgb {
  std::uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

// Throws Error if a side is not positive or rgb has not width · height · 3 bytes.
void check_picture(const Picture& picture);

// A picture of one colour. Throws Error if a side is not positive or the picture would pass 2^28 pixels.
Picture blank(int width, int height, Rgb colour);

// Each pixel as a square of `factor` pixels a side.
Picture enlarge(const Picture& picture, int factor);

// Copies `source` into `target` with its top left corner at (x, y); what falls outside is cut off.
void paste(Picture& target, const Picture& source, int x, int y);

// Fills a rectangle; what falls outside is cut off.
void fill_rectangle(Picture& target, int x, int y, int width, int height, Rgb colour);

}  // namespace render
}  // namespace retrace
