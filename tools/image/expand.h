// The picture files that a command line means.
#pragma once
#include <filesystem>
#include <span>
#include <vector>

namespace retrace::image {

// Whether a file name ends like a picture's: .jpg .jpeg .png .bmp .gif .ppm .pgm .pnm, in any case.
bool has_picture_extension(const std::filesystem::path& path);

// Each argument in order: a folder becomes the picture files in it (by extension, not in its subfolders,
// hidden ones left out), sorted by name byte by byte; anything else stays as it is and is checked when it is
// read, so that one bad file does not stop the others. Throws Error for a folder that cannot be read or has
// no pictures.
std::vector<std::filesystem::path> expand_images(std::span<const std::filesystem::path> arguments);

}  // namespace retrace::image
