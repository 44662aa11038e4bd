#include "attribution/render/mosaic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attribution/render/colormap.h"
#include "attribution/render/text.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

constexpr Rgb page{255, 255, 255}, ink{0, 0, 0}, faint{150, 150, 150}, frame{190, 190, 190};
constexpr int margin = 12, gap = 6;
constexpr int label_height = glyph_height + 2;
constexpr int title_scale = 2, title_line = (glyph_height + 2) * title_scale;

void check_options(const MosaicOptions& o) {
  const auto require = [](bool right, const char* name, auto value, const char* expected) {
    if (!right) throw UsageError(fmt::format("mosaic: {} {}: expected {}", name, value, expected));
  };
  require(o.strongest >= 0, "strongest", o.strongest, "0 (all) or a number of channels");
  require(o.columns >= 0, "columns", o.columns, "0 (automatic) or a number of tiles");
  require(o.least_tile >= 1, "least tile", o.least_tile, "1 or more pixels");
  require(o.most_side >= 512, "most side", o.most_side, "512 or more pixels");
  require(o.percentile > 0 && o.percentile <= 100, "percentile", o.percentile, "more than 0 and at most 100");
}

// The channels to draw, in order.
std::vector<int> choose(std::span<const float> a, int channels, int strongest) {
  std::vector<int> order(std::size_t(channels), 0);
  std::iota(order.begin(), order.end(), 0);
  if (strongest == 0) return order;
  std::vector<double> strength(std::size_t(channels), 0);
  for (std::size_t i = 0; i < a.size(); ++i) strength[i % std::size_t(channels)] += std::fabs(a[i]);
  // Equals stay in the order of their numbers.
  std::stable_sort(order.begin(), order.end(),
                   [&](int x, int y) { return strength[std::size_t(x)] > strength[std::size_t(y)]; });
  order.resize(std::size_t(std::min(strongest, channels)));
  return order;
}

// The percentile of the magnitudes, or the largest one where that is 0.
float clip_of(std::vector<float> magnitudes, float percentile) {
  const float largest = *std::max_element(magnitudes.begin(), magnitudes.end());
  const float clip = percentile_of(magnitudes, percentile);
  return clip > 0 ? clip : largest;
}

// How tiles of one map are drawn: shrunk by `shrink` (mean over squares, cut off at the edges), then
// enlarged.
struct Tiling {
  int columns = 1, rows = 1;
  int shrink = 1, enlarge = 1;
  int tile_width = 0, tile_height = 0;  // pixels on the page
  std::int64_t width = 0, height = 0;
};

// As many columns as make the page about square, or a number near it that leaves no gap in the last row.
// `ratio` is a tile's height over its width.
int columns_for(int count, double ratio) {
  const int square = std::clamp(int(std::lround(std::sqrt(count * ratio))), 1, count);
  for (int off = 0; off <= square / 4; ++off)
    for (const int columns : {square - off, square + off})
      if (count % columns == 0) return columns;
  return square;
}

Tiling tiling_of(int count, int height, int width, int shrink, int heading, const MosaicOptions& o) {
  Tiling t;
  t.shrink = shrink;
  const int w = (width + shrink - 1) / shrink, h = (height + shrink - 1) / shrink;
  t.enlarge = shrink > 1 ? 1 : std::max(1, (o.least_tile + std::max(w, h) - 1) / std::max(w, h));
  t.tile_width = w * t.enlarge, t.tile_height = h * t.enlarge;
  const std::int64_t across = t.tile_width + gap, down = t.tile_height + label_height + gap;
  t.columns = o.columns ? std::min(o.columns, count) : columns_for(count, double(down) / double(across));
  t.rows = (count + t.columns - 1) / t.columns;
  // Wide enough for a title over one small tile.
  t.width = std::max<std::int64_t>(2 * margin + t.columns * across - gap, 420);
  t.height = heading + t.rows * down - gap + margin;
  return t;
}

// One channel at the size it is drawn in before enlarging.
std::vector<float> tile_values(std::span<const float> a, int height, int width, int channels, int channel,
                               int shrink) {
  const int w = (width + shrink - 1) / shrink, h = (height + shrink - 1) / shrink;
  std::vector<float> out(std::size_t(w) * h);
  for (int y = 0; y < h; ++y)
    for (int x = 0; x < w; ++x) {
      double sum = 0;
      const int y_end = std::min(height, (y + 1) * shrink), x_end = std::min(width, (x + 1) * shrink);
      for (int i = y * shrink; i < y_end; ++i)
        for (int j = x * shrink; j < x_end; ++j)
          sum += a[(std::size_t(i) * width + j) * std::size_t(channels) + std::size_t(channel)];
      out[std::size_t(y) * w + x] = float(sum / ((y_end - y * shrink) * (x_end - x * shrink)));
    }
  return out;
}

std::vector<std::string> heading_of(const Mosaic& m, int channels, const MosaicOptions& o, int width) {
  std::vector<std::string> lines;
  if (!o.title.empty()) lines = wrap_text(o.title, width, title_scale);
  std::string scale;
  if (m.all_zero)
    scale = "all zero";
  else if (o.scale_each)
    scale = "each tile has its own scale";
  else
    scale = fmt::format("{} .. {:.3g}", m.scale == Scale::diverging ? fmt::format("{:.3g}", -m.clip) : "0",
                        m.clip);
  if (int(m.channels.size()) < channels)
    scale += fmt::format(", strongest {} of {}", m.channels.size(), channels);
  for (std::string& line : wrap_text(scale, width, title_scale)) lines.push_back(std::move(line));
  return lines;
}

}  // namespace

Mosaic render_mosaic(std::span<const float> a, int height, int width, int channels, const MosaicOptions& o) {
  check_options(o);
  check_finite(a, height, width, channels);
  Mosaic out;
  out.channels = choose(a, channels, o.strongest);
  out.scale =
      std::any_of(a.begin(), a.end(), [](float v) { return v < 0; }) ? Scale::diverging : Scale::sequential;

  // One list of magnitudes a tile, or one for all of them.
  const int count = int(out.channels.size());
  std::vector<float> clips(std::size_t(count), 0), magnitudes;
  for (int i = 0; i < count; ++i) {
    const int c = out.channels[std::size_t(i)];
    if (o.scale_each) magnitudes.clear();
    const std::size_t before = magnitudes.size();
    for (std::size_t j = std::size_t(c); j < a.size(); j += std::size_t(channels))
      magnitudes.push_back(std::fabs(a[j]));
    if (std::all_of(magnitudes.begin() + std::ptrdiff_t(before), magnitudes.end(),
                    [](float v) { return v == 0; }))
      out.zero.push_back(c);
    if (o.scale_each) clips[std::size_t(i)] = clip_of(magnitudes, o.percentile);
  }
  if (!o.scale_each) std::fill(clips.begin(), clips.end(), clip_of(std::move(magnitudes), o.percentile));
  out.clip = *std::max_element(clips.begin(), clips.end());
  out.all_zero = out.clip == 0;

  // The heading is wrapped to the width, which is not known yet: room for its most lines (four of title, four
  // of scale) is set aside while the tiles' size is sought.
  Tiling t;
  for (int shrink = 1;; ++shrink) {
    t = tiling_of(count, height, width, shrink, margin + 8 * title_line, o);
    if (std::max(t.width, t.height) <= o.most_side) break;
    if (shrink >= std::max(height, width))
      throw Error(
          fmt::format("a mosaic of {} channels needs {} x {} pixels even with tiles of one pixel, at most {} "
                      "a side are allowed",
                      count, t.width, t.height, o.most_side));
  }
  const auto heading = heading_of(out, channels, o, int(t.width) - 2 * margin);
  const int top = margin + int(heading.size()) * title_line + margin / 2;
  const int down = t.tile_height + label_height + gap;
  out.picture = blank(int(t.width), top + t.rows * down - gap + margin, page);
  for (std::size_t i = 0; i < heading.size(); ++i)
    draw_text(out.picture, margin, margin + int(i) * title_line, heading[i], ink, title_scale);

  for (int i = 0; i < count; ++i) {
    const int c = out.channels[std::size_t(i)];
    const int x = margin + i % t.columns * (t.tile_width + gap), y = top + i / t.columns * down;
    const bool zero = std::find(out.zero.begin(), out.zero.end(), c) != out.zero.end();
    std::string label = std::to_string(c);
    if (zero && text_width(label + " zero") <= t.tile_width) label += " zero";
    if (text_width(label) <= t.tile_width + gap - 1) draw_text(out.picture, x, y, label, zero ? faint : ink);
    const float clip = clips[std::size_t(i)];
    const std::vector<float> values = tile_values(a, height, width, channels, c, t.shrink);
    const int w = t.tile_width / t.enlarge;
    fill_rectangle(out.picture, x - 1, y + label_height - 1, t.tile_width + 2, t.tile_height + 2, frame);
    for (std::size_t j = 0; j < values.size(); ++j) {
      const float v = clip > 0 ? values[j] / clip : 0;
      const int px = int(j % std::size_t(w)) * t.enlarge, py = int(j / std::size_t(w)) * t.enlarge;
      fill_rectangle(out.picture, x + px, y + label_height + py, t.enlarge, t.enlarge,
                     out.scale == Scale::diverging ? diverging(v) : sequential(v));
    }
  }
  return out;
}

}  // namespace retrace::render
