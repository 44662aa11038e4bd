// The bitmap font and line breaking.
#include <doctest/doctest.h>

#include <set>

#include "attribution/render/font.h"
#include "attribution/render/text.h"

namespace retrace::render {
namespace {

// Pixels that are not white, inside a box.
int inked(const Picture& p, int x0, int y0, int x1, int y1) {
  int count = 0;
  for (int y = y0; y < y1; ++y)
    for (int x = x0; x < x1; ++x) count += p.pixel(x, y)[0] != 255;
  return count;
}

TEST_CASE("every letter is drawn, and no two look alike") {
  std::set<Glyph> seen{unknown_glyph};
  for (std::size_t i = 0; i < font.size(); ++i) {
    CAPTURE(char(' ' + i));
    CHECK(seen.insert(font[i]).second);
    for (const std::uint8_t row : font[i]) CHECK(row < 32);
    CHECK((font[i] == Glyph{}) == (i == 0));
  }
}

TEST_CASE("text stays inside the width it announces, at any scale") {
  for (const int scale : {1, 2, 3}) {
    const std::string text = "Mj_|W";
    Picture p = blank(200, 60, {255, 255, 255});
    draw_text(p, 10, 5, text, {0, 0, 0}, scale);
    const int width = text_width(text, scale);
    CHECK(width == (5 * 6 - 1) * scale);
    CHECK(inked(p, 10, 5, 10 + width, 5 + 8 * scale) == inked(p, 0, 0, 200, 60));
    CHECK(inked(p, 0, 0, 200, 60) > 0);
  }
  CHECK(text_width("") == 0);
  // Drawn half outside: cut off, not written elsewhere (the sanitizers would see it).
  Picture small = blank(9, 5, {255, 255, 255});
  draw_text(small, -3, -2, "WWWW", {0, 0, 0});
  draw_text(small, 7, 3, "WWWW", {0, 0, 0});
  CHECK(inked(small, 0, 0, 9, 5) > 0);
}

TEST_CASE("a letter is the letter") {
  Picture p = blank(5, 8, {255, 255, 255});
  draw_text(p, 0, 0, "L", {0, 0, 0});
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 5; ++x) CHECK((p.pixel(x, y)[0] == 0) == (y < 7 && (x == 0 || y == 6)));
}

TEST_CASE("other characters are one box each") {
  CHECK(text_width("a\u00e9\u4e2d") == text_width("abc"));
  Picture box = blank(20, 8, {255, 255, 255}), accent = box, control = box;
  draw_text(accent, 0, 0, "\u00e9", {0, 0, 0});
  draw_text(control, 0, 0, "\t", {0, 0, 0});
  CHECK(accent.rgb == control.rgb);
  CHECK(inked(accent, 0, 0, 20, 8) == 20);
}

TEST_CASE("lines are broken to a width") {
  using Lines = std::vector<std::string>;
  // Ten letters take 59 pixels.
  CHECK(wrap_text("short", 59) == Lines{"short"});
  CHECK(wrap_text("exactlyten", 59) == Lines{"exactlyten"});
  CHECK(wrap_text("two words more", 59) == Lines{"two words", "more"});
  CHECK(wrap_text("exactlyten more", 59) == Lines{"exactlyten", "more"});
  CHECK(wrap_text("a\nb", 59) == Lines{"a", "b"});
  CHECK(wrap_text("path/to/some_file", 59) == Lines{"path/to/", "some_file"});
  CHECK(wrap_text("unbreakablelongword", 59) == Lines{"unbreakabl", "elongword"});
  CHECK(wrap_text("", 59) == Lines{""});
  CHECK(wrap_text("one two three four five six", 59, 1, 2) == Lines{"one two", "three f..."});
  CHECK(wrap_text("\u00e9\u00e9\u00e9\u00e9", 3 * 6) == Lines{"\u00e9\u00e9\u00e9", "\u00e9"});
  for (const std::string& line : wrap_text("tabby, tabby cat (281) grad-cam layer4.1", 100, 2))
    CHECK(text_width(line, 2) <= 100);
}

}  // namespace
}  // namespace retrace::render
