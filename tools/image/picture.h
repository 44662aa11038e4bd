// Reading a picture file.
#pragma once
#include <filesystem>

#include "attribution/render/picture.h"

namespace retrace::image {

// No side beyond this and no more pixels in all: more is a mistake or an attack, not a picture to classify.
constexpr int most_side = 16384;
constexpr std::int64_t most_pixels = std::int64_t(1) << 28;

// Reads JPEG, PNG, BMP, GIF (the first frame) and PPM/PGM (P2, P3, P5, P6) as 8-bit RGB. Told apart by
// content, not by name.
//   Grey becomes R = G = B. Alpha is composited over white (blending the sRGB values, as browsers do). 16
//   bits a channel are rounded to 8, v · 255 / 65535. Colour profiles, gamma and EXIF orientation are not
//   applied (nor does torchvision's usual loader).
// Throws Error, one line that names the file, for: no such file, a folder, a pipe or device, no permission,
// an empty file, no picture or a format that is not read, a file cut short (PNG: also wrong checksums), sides
// beyond the limits above, damaged contents. Damage inside a JPEG whose end is there may go unnoticed.
Picture load_picture(const std::filesystem::path& path);

}  // namespace retrace::image
