// Means, tables and breakdowns.
#include <doctest/doctest.h>

#include <cmath>

#include "made_up.h"

namespace retrace::tools {
namespace {

const Column& column(const std::vector<Table>& all, const std::string& table, const std::string& key) {
  for (const Table& t : all)
    for (const Column& c : t.columns)
      if (t.key == table && c.key == key) return c;
  FAIL("no column ", table, ".", key);
  return all.front().columns.front();
}

TEST_CASE("mean and standard error") {
  CHECK(summarize({}).count == 0);
  CHECK(summarize({3}).mean == 3);
  CHECK(summarize({3}).error == 0);
  // Deviations -1, 0, 1: s = 1, over √3.
  const Summary s = summarize({1, 2, 3});
  CHECK(s.mean == 2);
  CHECK(s.error == doctest::Approx(1 / std::sqrt(3.0)));
}

TEST_CASE("tables hold the means") {
  Results r = made_up();
  auto all = tables(r);
  REQUIRE(all.size() == 3);
  CHECK(all[0].count == 4);
  CHECK(all[1].count == 2);
  CHECK(column(all, "localization", "mass").values[0]->mean == doctest::Approx(0.15));
  CHECK(column(all, "localization", "mass_pixels").values[1]->mean == doctest::Approx(0.3));
  CHECK(column(all, "localization", "mass_cell").values[2]->mean == doctest::Approx(0.45));
  CHECK(column(all, "localization", "empty").values[0]->mean == 0.25);
  CHECK(column(all, "two_objects", "follows").values[0]->mean == 0.5);
  CHECK(column(all, "two_objects", "own").values[0]->mean == doctest::Approx(0.35));
  // Deletion 1 … i/4 … 0 over halves: 1/4 + i/8; insertion 1/2.
  CHECK(column(all, "perturbation", "deletion").values[0]->mean == doctest::Approx(0.25 + 1.5 / 8));
  CHECK(column(all, "perturbation", "score").values[0]->mean == doctest::Approx(0.25 - 1.5 / 8));
  // Without a CAM there is no cell to widen by.
  for (MethodResults& m : r.methods) m.cell_height = m.cell_width = 0, m.cam = false;
  all = tables(r);
  CHECK_FALSE(column(all, "localization", "mass_cell").values[0].has_value());
  CHECK(column(all, "localization", "mass_pixels").values[0].has_value());
}

TEST_CASE("without masks, or without anything explained") {
  const Results r = made_up(false);
  CHECK_FALSE(r.has_masks());
  const auto all = tables(r);
  REQUIRE(all.size() == 1);
  CHECK(all[0].key == "perturbation");
  CHECK(tables(Results{}).empty());
}

TEST_CASE("quality is what a method can resolve, or its score") {
  const Results r = made_up();
  CHECK(r.methods[0].quality(2) == doctest::Approx(0.6));
  CHECK(r.methods[1].quality(2) == doctest::Approx(0.4));
  CHECK(made_up(false).methods[0].quality(2) == doctest::Approx(0.5 - 0.5));
}

TEST_CASE("breakdown by answer and by size of the object") {
  const Results r = made_up();
  const auto list = breakdown(r, r.methods[1]);  // qualities 0, 0.2, 0.4, 0.6
  REQUIRE(list.size() == 5);
  CHECK(list[0].what == "right answers");
  CHECK(list[0].summary.count == 3);
  CHECK(list[0].summary.mean == doctest::Approx(1.0 / 3));
  CHECK(list[1].summary.mean == doctest::Approx(0.2));
  // By size: samples 1, 2, 0, 3; thirds of one, one and two.
  CHECK(list[2].summary.mean == doctest::Approx(0.2));
  CHECK(list[3].summary.mean == doctest::Approx(0.4));
  CHECK(list[4].summary.mean == doctest::Approx(0.3));
  // No sizes without masks.
  const Results bare = made_up(false);
  CHECK(breakdown(bare, bare.methods[1]).size() == 2);
}

}  // namespace
}  // namespace retrace::tools
