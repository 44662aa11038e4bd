// PNG files.
#pragma once
#include <cstddef>
#include <filesystem>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace::render {

// The bytes of an 8-bit RGB PNG. Throws Error if the picture is empty or its size does not fit.
std::vector<std::byte> encode_png(const Picture& picture);

// Writes it whole or not at all (see weights/atomic_file.h). Throws Error naming the path.
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace retrace::render
