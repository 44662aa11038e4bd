#include "attribution/render/text.h"

#include <algorithm>
#include <cstring>

#include "attribution/render/font.h"

namespace retrace::render {
namespace {

// Continuation bytes of UTF-8 belong to the character before them.
bool starts_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

int characters(std::string_view text) {
  return int(std::count_if(text.begin(), text.end(), starts_character));
}

// The longest start of `text` that has at most `most` characters.
std::string_view first_characters(std::string_view text, int most) {
  std::size_t end = 0;
  for (; end < text.size(); ++end)
    if (starts_character(text[end]) && most-- == 0) break;
  return text.substr(0, end);
}

const Glyph& glyph_of(char c) {
  return c >= ' ' && c <= '~' ? font[std::size_t(c - ' ')] : unknown_glyph;
}

}  // namespace

int text_width(std::string_view text, int scale) {
  const int count = characters(text);
  return count == 0 ? 0 : (count * glyph_advance - (glyph_advance - glyph_width)) * scale;
}

void draw_text(Picture& picture, int x, int y, std::string_view text, Rgb ink, int scale) {
  for (const char c : text) {
    if (!starts_character(c)) continue;
    const Glyph& glyph = glyph_of(c);
    for (int row = 0; row < glyph_height; ++row)
      for (int column = 0; column < glyph_width; ++column)
        if (glyph[std::size_t(row)] >> (glyph_width - 1 - column) & 1)
          fill_rectangle(picture, x + column * scale, y + row * scale, scale, scale, ink);
    x += glyph_advance * scale;
  }
}

std::vector<std::string> wrap_text(std::string_view text, int width, int scale, int most_lines) {
  const int per_line = std::max(1, (width / scale + glyph_advance - glyph_width) / glyph_advance);
  std::vector<std::string> lines;
  do {
    const std::string_view paragraph = text.substr(0, text.find('\n'));
    std::string_view line = first_characters(paragraph, per_line);
    std::size_t used = line.size();
    if (used < paragraph.size() && paragraph[used] != ' ') {
      // Back to the last place in the line where it may be broken.
      const std::size_t at = line.find_last_of(" /._-,");
      if (at != line.npos && at > 0) {
        used = at + 1;
        line = line.substr(0, used);
      }
    }
    while (line.ends_with(' ')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(used);
    // The break takes the place of one line feed, or of the spaces around it.
    if (used == paragraph.size() && !text.empty())
      text.remove_prefix(1);
    else
      while (text.starts_with(' ')) text.remove_prefix(1);
  } while (!text.empty() && int(lines.size()) < most_lines);
  if (!text.empty()) {
    std::string& last = lines.back();
    while (!last.empty() && characters(last) > std::max(0, per_line - 3))
      last.resize(first_characters(last, characters(last) - 1).size());
    last += std::string("...").substr(0, std::size_t(std::min(3, per_line)));
  }
  return lines;
}

}  // namespace retrace::render
