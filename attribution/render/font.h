// The letters of text.h.
#pragma once
#include <array>
#include <cstdint>

namespace retrace::render {

// Eight rows from the top, bit 4 is the leftmost pixel.
using Glyph = std::array<std::uint8_t, 8>;

// Drawn for every character that the font has not got.
inline constexpr Glyph unknown_glyph{0x1F, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1F, 0x00};

// ' ' to '~'.
extern const std::array<Glyph, 95> font;

}  // namespace retrace::render
