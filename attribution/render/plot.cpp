#include "attribution/render/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "attribution/render/text.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

constexpr Rgb page{255, 255, 255}, ink{0, 0, 0}, axis{110, 110, 110}, grid{228, 228, 228};
// M. Okabe and K. Ito, "Color Universal Design", 2002: told apart by colour-blind eyes too.
constexpr std::array<Rgb, 7> colours{{{0, 114, 178},
                                      {213, 94, 0},
                                      {0, 158, 115},
                                      {204, 121, 167},
                                      {230, 159, 0},
                                      {86, 180, 233},
                                      {70, 70, 70}}};
constexpr int margin = 12, tick_length = 5;
constexpr double line_width = 2, dot_radius = 3, dash = 8;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void take(double v) { low = std::min(low, v), high = std::max(high, v); }
  bool empty() const { return !(low <= high); }
};

bool drawable(const Chart& chart, double x, double y) {
  constexpr double most = 1e300;  // differences must stay finite
  return std::fabs(x) <= most && std::fabs(y) <= most && !(chart.log_x && x <= 0);
}

// A flat line stands in the middle of its axis.
void widen(Range& r) {
  if (r.low < r.high) return;
  const double by = r.low == 0 ? 1 : std::fabs(r.low) * 0.1;
  r.low -= by, r.high += by;
}

std::string tick_label(double value, double step, double largest) {
  if (largest >= 1e6 || step < 1e-4) return fmt::format("{:.3g}", value);
  const int decimals = std::max(0, -int(std::floor(std::log10(step) + 1e-9)));
  const std::string text = fmt::format("{:.{}f}", value, decimals);
  // A value just below zero.
  return text.find_first_not_of("-0.") == std::string::npos ? fmt::format("{:.{}f}", 0.0, decimals) : text;
}

struct Tick {
  double at;  // on the axis' own (maybe logarithmic) scale
  std::string label;
};

std::vector<Tick> linear_ticks(Range r, int most) {
  std::vector<Tick> ticks;
  const std::vector<double> at = round_ticks(r.low, r.high, most);
  const double step = at.size() > 1 ? at[1] - at[0] : r.high - r.low;
  for (const double v : at) {
    ticks.push_back({v, tick_label(v, step, std::max(std::fabs(r.low), std::fabs(r.high)))});
  }
  return ticks;
}

// Powers of ten, with 2 and 5 between them where there is room; `r` holds logarithms to base 10.
std::vector<Tick> log_ticks(Range r, int most) {
  const int first = int(std::floor(r.low)), last = int(std::ceil(r.high));
  const auto collect = [&](std::initializer_list<double> within, int every) {
    std::vector<Tick> ticks;
    for (int e = first; e <= last; ++e) {
      if ((e - first) % every != 0) continue;
      for (const double m : within) {
        const double at = e + std::log10(m);
        if (at >= r.low - 1e-9 && at <= r.high + 1e-9) {
          ticks.push_back({at, fmt::format("{:.6g}", m * std::pow(10.0, e))});
        }
      }
    }
    return ticks;
  };
  if (auto ticks = collect({1, 2, 5}, 1); int(ticks.size()) <= most) return ticks;
  for (int every = 1;; ++every) {
    if (auto ticks = collect({1}, every); int(ticks.size()) <= most || every > last - first) return ticks;
  }
}

// How much of each pixel of a rectangle a curve covers: overlapping strokes of one curve must not darken it.
class Coverage {
 public:
  Coverage(int x, int y, int width, int height)
      : x_(x), y_(y), width_(width), height_(height), cover_(std::size_t(width) * height, 0.0f) {}

  // Everything within `radius` of the line from (x0, y0) to (x1, y1), with soft edges.
  void stroke(double x0, double y0, double x1, double y1, double radius) {
    const double reach = radius + 1;
    const auto clip = [](double v, int from, int size) {
      return int(std::clamp(v - from, 0.0, double(size)));
    };
    const int left = clip(std::min(x0, x1) - reach, x_, width_),
              right = clip(std::max(x0, x1) + reach + 1, x_, width_),
              top = clip(std::min(y0, y1) - reach, y_, height_),
              bottom = clip(std::max(y0, y1) + reach + 1, y_, height_);
    const double dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
    for (int y = top; y < bottom; ++y) {
      for (int x = left; x < right; ++x) {
        const double px = x + x_ + 0.5 - x0, py = y + y_ + 0.5 - y0;
        const double t = square > 0 ? std::clamp((px * dx + py * dy) / square, 0.0, 1.0) : 0.0;
        const double distance = std::hypot(px - t * dx, py - t * dy);
        float& cover = cover_[std::size_t(y) * width_ + x];
        cover = std::max(cover, float(std::clamp(radius + 0.5 - distance, 0.0, 1.0)));
      }
    }
  }

  void paint(Picture& picture, Rgb colour) const {
    const std::uint8_t rgb[3] = {colour.r, colour.g, colour.b};
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        const float cover = cover_[std::size_t(y) * width_ + x];
        if (cover == 0) continue;
        std::uint8_t* const p = picture.pixel(x + x_, y + y_);
        for (int c = 0; c < 3; ++c) p[c] = std::uint8_t(std::lround(p[c] + cover * (float(rgb[c]) - p[c])));
      }
    }
  }

 private:
  int x_, y_, width_, height_;
  std::vector<float> cover_;
};

// Strokes along a curve; dashes keep their phase over its corners.
class Pen {
 public:
  Pen(Coverage& coverage, bool dashed) : coverage_(coverage), dashed_(dashed) {}

  void line(double x0, double y0, double x1, double y1) {
    if (!dashed_) {
      coverage_.stroke(x0, y0, x1, y1, line_width / 2);
      return;
    }
    const double length = std::hypot(x1 - x0, y1 - y0);
    // Far outside the page nobody counts dashes.
    if (length > 1e5) return;
    for (double from = 0; from < length;) {
      const double phase = std::fmod(walked_ + from, 2 * dash);
      const double to = std::min(length, from + std::max(1e-6, (phase < dash ? dash : 2 * dash) - phase));
      if (phase < dash) {
        coverage_.stroke(x0 + (x1 - x0) * from / length, y0 + (y1 - y0) * from / length,
                         x0 + (x1 - x0) * to / length, y0 + (y1 - y0) * to / length, line_width / 2);
      }
      from = to;
    }
    walked_ += length;
  }

 private:
  Coverage& coverage_;
  bool dashed_;
  double walked_ = 0;
};

struct Style {
  Rgb colour;
  bool dashed;
};

Style style_of(const Chart& chart, std::size_t index) {
  const bool again = index / colours.size() % 2 != 0;
  return {colours[index % colours.size()], chart.series[index].dashed != again};
}

// A name, cut short where it does not fit on the page.
std::string legend_name(const std::string& name, int width, int swatch, int scale) {
  return wrap_text(name, width - swatch - 3 * scale, scale, 1).front();
}

// Legend entries broken into rows that fit the page.
std::vector<std::vector<std::size_t>> legend_rows(const Chart& chart, int width, int swatch, int scale) {
  std::vector<std::vector<std::size_t>> rows;
  int used = 0;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    if (chart.series[i].name.empty()) continue;
    const int needed = swatch + text_width(legend_name(chart.series[i].name, width, swatch, scale), scale) +
                       3 * glyph_advance * scale;
    if (rows.empty() || used + needed > width) rows.emplace_back(), used = 0;
    rows.back().push_back(i);
    used += needed;
  }
  return rows;
}

void check_chart(const Chart& chart, int width, int height) {
  if (width < 200 || height < 150) {
    throw UsageError(fmt::format("chart of {} x {} pixels: expected at least 200 x 150", width, height));
  }
  for (const Series& s : chart.series) {
    if (s.x.size() != s.y.size()) {
      throw Error(
          fmt::format("chart '{}', series '{}': {} x and {} y", chart.title, s.name, s.x.size(), s.y.size()));
    }
  }
  for (const auto& bound : {chart.y_min, chart.y_max}) {
    if (bound && !(std::fabs(*bound) <= 1e300)) {
      throw UsageError(fmt::format("chart '{}': y axis ends at {}", chart.title, *bound));
    }
  }
  if (chart.y_min && chart.y_max && !(*chart.y_min < *chart.y_max)) {
    throw UsageError(fmt::format("chart '{}': y from {} to {}", chart.title, *chart.y_min, *chart.y_max));
  }
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int most) {
  const double rough = (high - low) / std::max(1, most - 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  std::vector<double> ticks;
  for (const double factor : {1.0, 2.0, 5.0, 10.0, 20.0, 50.0}) {
    const double step = factor * power;
    // Rounding must not lose a tick that is an end.
    const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
    if (last - first + 1 > std::max(2, most)) continue;
    ticks.clear();
    for (double i = first; i <= last; ++i) ticks.push_back(i == 0 ? 0 : i * step);  // not -0
    break;
  }
  return ticks;
}

Picture draw_chart(const Chart& chart, int width, int height) {
  check_chart(chart, width, height);
  const int scale = width >= 480 && height >= 300 ? 2 : 1;
  const int line = (glyph_height + 2) * scale, gap = 3 * scale, swatch = 14 * scale;
  Picture out = blank(width, height, page);

  Range xs, ys;
  const auto along = [&](double x) { return chart.log_x ? std::log10(x) : x; };
  for (const Series& s : chart.series) {
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (drawable(chart, s.x[i], s.y[i])) xs.take(along(s.x[i])), ys.take(s.y[i]);
    }
  }
  const bool empty = xs.empty();
  if (empty) xs = {0, 1}, ys = {0, 1};
  widen(xs), widen(ys);
  const double room = (ys.high - ys.low) * 0.05;
  // A curve that stays on one side of zero keeps its axis there.
  ys = {ys.low >= 0 ? std::max(0.0, ys.low - room) : ys.low - room, ys.high + room};
  if (chart.y_min) ys.low = *chart.y_min;
  if (chart.y_max) ys.high = *chart.y_max;
  if (!(ys.low < ys.high)) {
    // All values are beyond the one end that was given.
    const double span = std::max(1.0, std::fabs(ys.low) * 0.1);
    if (chart.y_min)
      ys.high = ys.low + span;
    else
      ys.low = ys.high - span;
  }

  // From the outside in: what is left is the plot.
  int y = margin;
  for (const std::string& words : chart.title.empty()
                                      ? std::vector<std::string>{}
                                      : wrap_text(chart.title, width - 2 * margin, scale, 2)) {
    draw_text(out, (width - text_width(words, scale)) / 2, y, words, ink, scale);
    y += line;
  }
  if (!chart.y_label.empty()) {
    draw_text(out, margin, y + gap, chart.y_label, axis, scale);
    y += line + gap;
  }
  const int top = y + line / 2;
  const auto rows = legend_rows(chart, width - 2 * margin, swatch, scale);
  int bottom = height - margin;
  bottom -= int(rows.size()) * line;
  const int legend_top = bottom;
  bottom -= (rows.empty() ? 0 : gap) + (chart.x_label.empty() ? 0 : line) + line + tick_length + gap;
  const std::vector<Tick> y_ticks = linear_ticks(ys, std::clamp((bottom - top) / (2 * line), 2, 8));
  int widest = 0;
  for (const Tick& t : y_ticks) widest = std::max(widest, text_width(t.label, scale));
  const int left = margin + widest + gap + tick_length, right = width - margin - glyph_advance * 2 * scale;
  if (right - left < 40 || bottom - top < 30) {
    throw UsageError(
        fmt::format("chart '{}': {} x {} pixels leave no room for the curves", chart.title, width, height));
  }
  const auto to_x = [&](double v) { return left + (v - xs.low) / (xs.high - xs.low) * (right - left); };
  const auto to_y = [&](double v) { return bottom - (v - ys.low) / (ys.high - ys.low) * (bottom - top); };

  // Labels must not touch: fewer of them where they are wide.
  std::vector<Tick> x_ticks;
  for (int most = std::clamp((right - left) / (4 * glyph_advance * scale), 2, 11); most >= 2; --most) {
    x_ticks = chart.log_x ? log_ticks(xs, most) : linear_ticks(xs, most);
    bool fits = true;
    for (std::size_t i = 1; i < x_ticks.size(); ++i) {
      const int half = (text_width(x_ticks[i].label, scale) + text_width(x_ticks[i - 1].label, scale)) / 2;
      fits = fits && to_x(x_ticks[i].at) - to_x(x_ticks[i - 1].at) >= half + 2 * glyph_advance * scale;
    }
    if (fits) break;
  }
  for (const Tick& t : x_ticks) {
    const int x = int(std::lround(to_x(t.at)));
    fill_rectangle(out, x, top, 1, bottom - top, grid);
    fill_rectangle(out, x, bottom, 1, tick_length, axis);
    const int w = text_width(t.label, scale);
    draw_text(out, std::min(x - w / 2, width - w), bottom + tick_length + gap, t.label, ink, scale);
  }
  for (const Tick& t : y_ticks) {
    const int at = int(std::lround(to_y(t.at)));
    fill_rectangle(out, left, at, right - left, 1, grid);
    fill_rectangle(out, left - tick_length, at, tick_length, 1, axis);
    draw_text(out, left - tick_length - gap - text_width(t.label, scale),
              at - glyph_height * scale / 2 + scale / 2, t.label, ink, scale);
  }
  fill_rectangle(out, left, top, 1, bottom - top + 1, axis);
  fill_rectangle(out, left, bottom, right - left, 1, axis);
  if (!chart.x_label.empty()) {
    draw_text(out, left + (right - left - text_width(chart.x_label, scale)) / 2,
              bottom + tick_length + gap + line, chart.x_label, axis, scale);
  }

  for (std::size_t k = 0; k < chart.series.size(); ++k) {
    const Series& s = chart.series[k];
    const Style style = style_of(chart, k);
    Coverage coverage(left, top - 1, right - left + 2, bottom - top + 2);
    Pen pen(coverage, style.dashed);
    const auto there = [&](std::size_t i) { return i < s.x.size() && drawable(chart, s.x[i], s.y[i]); };
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!there(i)) continue;
      const double px = to_x(along(s.x[i])), py = to_y(s.y[i]);
      if (there(i + 1)) {
        pen.line(px, py, to_x(along(s.x[i + 1])), to_y(s.y[i + 1]));
      } else if (i == 0 || !there(i - 1)) {
        coverage.stroke(px, py, px, py, dot_radius);
      }
    }
    coverage.paint(out, style.colour);
  }
  if (empty) {
    const std::string_view words = "no values";
    draw_text(out, left + (right - left - text_width(words, scale)) / 2, (top + bottom) / 2, words, axis,
              scale);
  }

  y = legend_top;
  for (const auto& row : rows) {
    int x = margin;
    for (const std::size_t i : row) {
      const Style style = style_of(chart, i);
      Coverage coverage(x, y, std::min(swatch, width - x), glyph_height * scale);
      Pen(coverage, style.dashed)
          .line(x + 1, y + glyph_height * scale / 2, x + swatch - 2, y + glyph_height * scale / 2);
      coverage.paint(out, style.colour);
      const std::string name = legend_name(chart.series[i].name, width - 2 * margin, swatch, scale);
      draw_text(out, x + swatch + gap, y, name, ink, scale);
      x += swatch + text_width(name, scale) + 3 * glyph_advance * scale;
    }
    y += line;
  }
  return out;
}

Picture draw_charts(std::span<const Chart> charts, int columns, int width, int height) {
  if (charts.empty()) throw Error("no chart to draw");
  if (columns < 1) throw UsageError(fmt::format("{} columns of charts: expected 1 or more", columns));
  columns = std::min(columns, int(charts.size()));
  const int rows = (int(charts.size()) + columns - 1) / columns;
  Picture out = blank(columns * width, rows * height, page);
  for (int i = 0; i < int(charts.size()); ++i) {
    paste(out, draw_chart(charts[std::size_t(i)], width, height), i % columns * width, i / columns * height);
  }
  return out;
}

}  // namespace retrace::render
