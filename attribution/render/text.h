// Words in pictures: a bitmap font of our own, 5 x 8 pixels a letter, for labels and captions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace::render {

constexpr int glyph_width = 5;
constexpr int glyph_height = 8;  // the last row is for descenders
constexpr int glyph_advance = 6;

// Pixels that a line takes at `scale`, without the gap after its last letter. Text is UTF-8; a character
// outside printable ASCII counts, and is drawn, as one box.
int text_width(std::string_view text, int scale = 1);

// Draws one line with its top left corner at (x, y); what falls outside is cut off.
void draw_text(Picture& picture, int x, int y, std::string_view text, Rgb ink, int scale = 1);

// Breaks text into lines of at most `width` pixels: at line feeds, at spaces, after '/', '.', '_', '-' or
// ',', and inside a word where nothing else helps. At least one letter a line, at least one line; past
// `most_lines` the last one ends in "...".
std::vector<std::string> wrap_text(std::string_view text, int width, int scale = 1, int most_lines = 4);

}  // namespace retrace::render
