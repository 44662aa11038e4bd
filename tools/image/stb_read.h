// Our door to stb_image.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "attribution/render/picture.h"

namespace retrace::image {

// Decodes a JPEG, PNG, BMP or GIF as load_picture (picture.h) promises. Throws Error, its message beginning
// with `name`. The file must be known to be whole: see container.h.
Picture decode_stb(std::span<const std::uint8_t> bytes, const std::string& name);

}  // namespace retrace::image
