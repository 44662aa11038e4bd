// The one place where stb_image is compiled; static, because some distributions also ship it as a library.
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STBI_FAILURE_USERMSG
#include "tools/image/stb_read.h"

#include <fmt/format.h>
#include <stb_image.h>

#include <memory>

#include "kernels/error.h"
#include "tools/image/limits.h"

namespace retrace::image {
namespace {

[[noreturn]] void fail(const std::string& name) {
  throw Error(fmt::format("{}: the picture cannot be decoded: {}", name, stbi_failure_reason()));
}

// RGBA with levels 0 … most → RGB over white, rounded to 8 bits once.
template <typename Level>
Picture over_white(const Level* rgba, int width, int height, std::uint32_t most) {
  Picture picture{width, height, std::vector<std::uint8_t>(std::size_t(width) * height * 3)};
  const std::uint64_t scale = std::uint64_t(most) * most;
  for (std::size_t i = 0; i < std::size_t(width) * height; ++i) {
    const std::uint64_t alpha = rgba[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const std::uint64_t value = rgba[4 * i + c] * alpha + std::uint64_t(most) * (most - alpha);
      picture.rgb[3 * i + c] = std::uint8_t((value * 255 + scale / 2) / scale);
    }
  }
  return picture;
}

}  // namespace

Picture decode_stb(std::span<const std::uint8_t> bytes, const std::string& name) {
  const int size = int(bytes.size());  // load_picture has seen to it that this fits
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), size, &width, &height, &channels)) fail(name);
  check_dimensions(width, height, name);
  struct Free {
    void operator()(void* p) const { stbi_image_free(p); }
  };
  if (stbi_is_16_bit_from_memory(bytes.data(), size)) {
    const std::unique_ptr<stbi_us[], Free> levels(
        stbi_load_16_from_memory(bytes.data(), size, &width, &height, &channels, 4));
    if (!levels) fail(name);
    return over_white(levels.get(), width, height, 65535);
  }
  const std::unique_ptr<stbi_uc[], Free> levels(
      stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 4));
  if (!levels) fail(name);
  return over_white(levels.get(), width, height, 255);
}

}  // namespace retrace::image
