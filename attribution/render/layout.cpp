#include "attribution/render/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "attribution/render/colormap.h"
#include "attribution/render/text.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

constexpr Rgb white{255, 255, 255}, black{0, 0, 0}, outline{150, 150, 150};
constexpr int margin = 12;
constexpr int text_scale = 2;
constexpr int line_height = (glyph_height + 2) * text_scale;
constexpr int bar_height = 12;

struct Prepared {
  Picture picture, bar;
  std::vector<std::string> caption;
};

}  // namespace

Panel panel_of(const RenderedMap& map, std::string caption) {
  return {map.picture, std::move(caption), Bar{map.scale, map.clip}};
}

Picture colour_bar(Bar bar, int width) {
  Picture out = blank(width, bar_height + 4 + glyph_height * text_scale, white);
  const bool both = bar.scale == Scale::diverging;
  for (int x = 0; x < width; ++x) {
    const float t = width > 1 ? float(x) / float(width - 1) : 1;
    fill_rectangle(out, x, 0, 1, bar_height, both ? diverging(2 * t - 1) : sequential(t));
  }
  const int y = bar_height + 4;
  const std::string left = both ? fmt::format("{:.2g}", -bar.clip) : "0",
                    right = fmt::format("{:.2g}", bar.clip);
  draw_text(out, 0, y, left, black, text_scale);
  draw_text(out, width - text_width(right, text_scale), y, right, black, text_scale);
  if (both) draw_text(out, (width - text_width("0", text_scale)) / 2, y, "0", black, text_scale);
  return out;
}

Picture side_by_side(std::span<const Panel> panels, std::string_view title) {
  if (panels.empty()) throw Error("no panel to lay out");
  int tallest = 0;
  for (const Panel& panel : panels) {
    check_picture(panel.picture);
    tallest = std::max(tallest, panel.picture.height);
  }
  std::vector<Prepared> prepared;
  std::int64_t width = margin;
  int below = 0;  // the height of the longest caption
  bool any_bar = false;
  for (const Panel& panel : panels) {
    Prepared p;
    p.picture = enlarge(panel.picture, tallest / panel.picture.height);
    p.caption = wrap_text(panel.caption, p.picture.width, text_scale);
    if (panel.caption.empty()) p.caption.clear();
    if (panel.bar && panel.bar->clip > 0) p.bar = colour_bar(*panel.bar, p.picture.width);
    any_bar = any_bar || p.bar.height > 0;
    below = std::max(below, int(p.caption.size()) * line_height);
    width += p.picture.width + margin;
    prepared.push_back(std::move(p));
  }
  const int bar_space = any_bar ? bar_height + 4 + glyph_height * text_scale : 0;
  const auto heading =
      title.empty() ? std::vector<std::string>{}
                    : wrap_text(title, int(std::min<std::int64_t>(width, 1 << 20)) - 2 * margin, text_scale);
  const int top = margin + (heading.empty() ? 0 : int(heading.size()) * line_height + margin / 2);
  const std::int64_t height = std::int64_t(top) + tallest + 6 + below + bar_space + margin / 2;
  if (std::max(width, height) > 1 << 20)
    throw Error(
        fmt::format("{} panels side by side would need {} x {} pixels", panels.size(), width, height));
  Picture out = blank(int(width), int(height), white);
  for (std::size_t i = 0; i < heading.size(); ++i)
    draw_text(out, margin, margin + int(i) * line_height, heading[i], black, text_scale);
  int x = margin;
  for (const Prepared& p : prepared) {
    // A thin frame, because a map's zero is as white as the page.
    fill_rectangle(out, x - 1, top - 1, p.picture.width + 2, p.picture.height + 2, outline);
    paste(out, p.picture, x, top);
    int y = top + tallest + 6;
    for (const std::string& line : p.caption) {
      draw_text(out, x, y, line, black, text_scale);
      y += line_height;
    }
    // Bars stand in one line, below the longest caption.
    if (p.bar.height > 0) paste(out, p.bar, x, top + tallest + 6 + below);
    x += p.picture.width + margin;
  }
  return out;
}

}  // namespace retrace::render
