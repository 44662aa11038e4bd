// PGM and PPM, plain (P2, P3) and raw (P5, P6): the Netpbm formats.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "attribution/render/picture.h"

namespace retrace::image {

// Levels are scaled from 0 … maxval (at most 65535) to 0 … 255 and rounded; grey becomes R = G = B. Throws
// Error (its message begins with `name`) for a bad header, sides beyond the limits of picture.h, a level
// beyond maxval, or fewer levels than the header announces. What follows them is ignored.
Picture read_pnm(std::span<const std::uint8_t> bytes, const std::string& name);

}  // namespace retrace::image
