// Line charts.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "attribution/render/plot.h"
#include "attribution/render/png.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN(),
                 inf = std::numeric_limits<double>::infinity();

// Pixels of about this colour.
int count(const Picture& p, Rgb colour, int x0 = 0, int x1 = 1 << 20) {
  int n = 0;
  for (int y = 0; y < p.height; ++y)
    for (int x = x0; x < std::min(x1, p.width); ++x) {
      const std::uint8_t* const c = p.pixel(x, y);
      n += std::abs(c[0] - colour.r) < 12 && std::abs(c[1] - colour.g) < 12 && std::abs(c[2] - colour.b) < 12;
    }
  return n;
}

constexpr Rgb first{0, 114, 178}, second{213, 94, 0};

Chart of(std::vector<double> x, std::vector<double> y) {
  Chart chart{.title = "", .x_label = "", .y_label = "", .series = {}};
  chart.series.push_back({"", std::move(x), std::move(y)});
  return chart;
}

// Set to look at what the tests draw.
void show(const Picture& picture, const std::string& name) {
  if (const char* const folder = std::getenv("RETRACE_SHOW"))
    write_png(std::string(folder) + "/" + name, picture);
}

TEST_CASE("ticks are round, inside and few") {
  using V = std::vector<double>;
  CHECK(round_ticks(0, 1, 6) == V{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1});
  CHECK(round_ticks(0, 10, 3) == V{0, 5, 10});
  CHECK(round_ticks(-3, 3, 4) == V{-2, 0, 2});
  CHECK(round_ticks(0.9, 1.1, 3) == V{0.9, 1, 1.1});
  for (const auto& [low, high] :
       {std::pair{0.0, 1e-12}, {1.0, 1.0000001}, {-1e300, 1e300}, {-7.3, 912.0}, {3.0, 4.1}}) {
    for (int most = 2; most < 12; ++most) {
      CAPTURE(low);
      CAPTURE(most);
      const V ticks = round_ticks(low, high, most);
      CHECK(ticks.size() >= 1);
      CHECK(int(ticks.size()) <= most);
      const double slack = (high - low) * 1e-6;
      for (const double t : ticks) CHECK((t >= low - slack && t <= high + slack));
    }
  }
}

TEST_CASE("a rising line rises, from end to end") {
  const Picture p = draw_chart(of({0, 1}, {0, 1}), 400, 300);
  CHECK(p.width == 400);
  CHECK(p.height == 300);
  // The topmost pixel of the curve in each column.
  int before = 1 << 20, columns = 0;
  for (int x = 0; x < p.width; ++x) {
    for (int y = 0; y < p.height; ++y) {
      const std::uint8_t* const c = p.pixel(x, y);
      if (c[0] > 30 || c[2] < 150) continue;
      CHECK(y <= before);
      before = y, ++columns;
      break;
    }
  }
  CHECK(columns > 300);
  CHECK(before < 40);
}

TEST_CASE("values that are not finite break the line") {
  const Picture whole = draw_chart(of({0, 1, 2, 3, 4, 5}, {1, 1, 1, 1, 1, 1}), 400, 300);
  for (const double hole : {nan, inf, -inf, 1e305}) {
    CAPTURE(hole);
    const Picture broken = draw_chart(of({0, 1, 2, 3, 4, 5}, {1, 1, hole, 1, 1, 1}), 400, 300);
    // Two of five pieces are missing.
    CHECK(count(broken, first) < count(whole, first) * 0.65);
    CHECK(count(broken, first) > count(whole, first) * 0.5);
  }
  // A value alone is a dot, all around round: about 3 pixels of radius.
  const int dot = count(draw_chart(of({0, 1, 2, 3, 4}, {nan, 1, nan, nan, nan}), 400, 300), first);
  CHECK(dot > 16);
  CHECK(dot < 40);
}

TEST_CASE("what lies outside the given ends is cut off") {
  Chart chart = of({0, 1, 2}, {0.5, 1e18, 0.5});
  chart.y_min = 0, chart.y_max = 1;
  CHECK(count(draw_chart(chart, 400, 300), first) > 0);
  chart.series[0].y = {5, 6, 7};
  CHECK(count(draw_chart(chart, 400, 300), first) == 0);
  // Only one end given, and all values beyond it.
  chart.y_min.reset();
  CHECK_NOTHROW(draw_chart(chart, 400, 300));
  chart.y_min = 9, chart.y_max.reset();
  CHECK_NOTHROW(draw_chart(chart, 400, 300));
}

TEST_CASE("a logarithmic axis gives decades equal room") {
  Chart chart = of({1, 10, 100}, {0, 1, 0});
  chart.log_x = true;
  const Picture p = draw_chart(chart, 400, 300);
  // The peak, the topmost pixel of the curve, is in the middle between the ends.
  int left = -1, right = -1, peak = -1, peak_y = 1 << 20;
  for (int x = 0; x < p.width; ++x)
    for (int y = 0; y < p.height; ++y) {
      const std::uint8_t* const c = p.pixel(x, y);
      if (c[0] > 30 || c[2] < 150) continue;
      if (left < 0) left = x;
      right = x;
      if (y < peak_y) peak_y = y, peak = x;
    }
  CHECK(std::abs((left + right) / 2 - peak) <= 3);
  // Nothing at or below 0 is on it.
  chart.series[0].x = {-1, 0, 0};
  CHECK(count(draw_chart(chart, 400, 300), first) == 0);
}

TEST_CASE("series differ in colour; dashes draw about half") {
  Chart chart = of({0, 1}, {0, 0});
  chart.series.push_back({"", {0, 1}, {1, 1}});
  const int solid = count(draw_chart(chart, 400, 300), second);
  CHECK(solid > 300);
  chart.series[1].dashed = true;
  const int dashed = count(draw_chart(chart, 400, 300), second);
  CHECK(dashed > solid * 0.35);
  CHECK(dashed < solid * 0.65);
  // The eighth has the first's colour, dashed; asked to be dashed, it is solid.
  chart = of({}, {});
  for (int i = 1; i < 8; ++i) chart.series.push_back({"", {0, 1}, {double(i), double(i)}});
  const int half = count(draw_chart(chart, 400, 300), first);
  chart.series[7].dashed = true;
  const int all = count(draw_chart(chart, 400, 300), first);
  CHECK(all > 300);
  CHECK(half > all * 0.35);
  CHECK(half < all * 0.65);
}

TEST_CASE("a whole chart, with everything") {
  Chart chart{.title = "Deletion: probability of the target class",
              .x_label = "share of pixels removed",
              .y_label = "probability",
              .series = {},
              .y_min = 0,
              .y_max = 1};
  for (const char* const name : {"lrp", "grad-cam", "input-gradient", "random order", "constant centre"}) {
    Series s{.name = name, .x = {}, .y = {}, .dashed = chart.series.size() >= 3};
    for (int i = 0; i <= 40; ++i) {
      s.x.push_back(i / 40.0);
      s.y.push_back(std::exp(-i / 40.0 * (6 - double(chart.series.size()))) * 0.95 + 0.02 * std::sin(i));
    }
    chart.series.push_back(std::move(s));
  }
  const Picture p = draw_chart(chart, 640, 420);
  show(p, "chart.png");
  for (const Rgb c : {first, second, Rgb{0, 158, 115}, Rgb{204, 121, 167}, Rgb{230, 159, 0}})
    CHECK(count(p, c) > 100);

  Chart loss{.title = "Loss", .x_label = "step", .y_label = "", .series = {}, .log_x = true};
  Series train{.name = "train", .x = {}, .y = {}};
  for (int i = 1; i <= 20000; i += 7) {
    train.x.push_back(i);
    train.y.push_back(2 * std::pow(i, -0.3) + 0.1 * std::sin(i * 12.9898) * std::cos(i * 0.7));
  }
  loss.series.push_back(train);
  Chart linear = loss;
  linear.log_x = false, linear.title = "The same, linear", linear.series[0].y[900] = nan;
  Chart none{.title = "Nothing yet", .x_label = "step", .y_label = "accuracy", .series = {}};
  Chart small_values = of({0, 1000000, 2500000}, {1.5e-6, 3e-6, 2e-6});
  small_values.series[0].name = "a rather long name of a series, to be seen";
  const Chart all[] = {loss, linear, none, small_values};
  const Picture grid = draw_charts(all, 2, 520, 340);
  CHECK(grid.width == 1040);
  CHECK(grid.height == 680);
  show(grid, "charts.png");
  show(draw_chart(chart, 320, 240), "small.png");
}

TEST_CASE("what cannot be drawn is refused") {
  CHECK_THROWS_WITH_AS(draw_chart(of({0, 1}, {0}), 400, 300), "chart '', series '': 2 x and 1 y", Error);
  CHECK_THROWS_WITH_AS(draw_chart(of({0}, {0}), 199, 300),
                       "chart of 199 x 300 pixels: expected at least 200 x 150", UsageError);
  Chart chart = of({0}, {0});
  chart.y_min = 1, chart.y_max = 1;
  CHECK_THROWS_AS(draw_chart(chart, 400, 300), UsageError);
  chart.y_max = nan;
  CHECK_THROWS_AS(draw_chart(chart, 400, 300), UsageError);
  CHECK_THROWS_AS(draw_charts({}, 2, 400, 300), Error);
  CHECK_THROWS_AS(draw_charts(std::span(&chart, 1), 0, 400, 300), UsageError);
}

}  // namespace
}  // namespace retrace::render
