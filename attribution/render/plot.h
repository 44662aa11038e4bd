// Line charts: curves over steps, over shares of pixels, over anything.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace::render {

struct Series {
  std::string name;  // in the legend; empty: not listed there
  std::vector<double> x, y;
  bool dashed = false;  // for what the others are compared with
};

struct Chart {
  std::string title, x_label, y_label;  // y_label stands over the axis, not beside it
  std::vector<Series> series;
  std::optional<double> y_min = std::nullopt, y_max = std::nullopt;  // what is left out comes from the values
  bool log_x = false;
};

// Points joined by lines in the order given, on a white page. A value that is not finite (or a magnitude past 1e300,
// or x ≤ 0 on a logarithmic axis) breaks the line; a point alone becomes a dot; what lies outside y_min … y_max is
// cut off. Colours repeat after seven series, dashed the other way round. Throws Error naming the series if it has not
// as many x as y; UsageError for a page under 200 x 150 pixels or y_min ≥ y_max. A chart without a point says so.
Picture draw_chart(const Chart& chart, int width, int height);

// Several charts of width x height each, row by row, `columns` a row. Throws as above, and Error for none.
Picture draw_charts(std::span<const Chart> charts, int columns, int width, int height);

// Round numbers inside [low, high] in equal steps of 1, 2 or 5 times a power of ten, at most `most` of them
// (at least 2), low < high.
std::vector<double> round_ticks(double low, double high, int most);

}  // namespace retrace::render
