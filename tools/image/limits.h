// The check of a picture's size that every reader makes before it allocates.
#pragma once
#include <cstdint>
#include <string>

namespace retrace::image {

// Throws Error unless both sides are positive and within the limits of picture.h.
void check_dimensions(std::int64_t width, std::int64_t height, const std::string& name);

}  // namespace retrace::image
