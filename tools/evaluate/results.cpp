#include "tools/evaluate/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace retrace::tools {

double MethodResults::quality(std::size_t i) const {
  if (i < localization.size() && localization[i]) {
    return cam ? localization[i]->mass_cell : localization[i]->mass_pixels;
  }
  return curves.at(i).score();
}

bool Results::has_masks() const {
  return !methods.empty() &&
         std::any_of(methods.front().localization.begin(), methods.front().localization.end(),
                     [](const auto& l) { return l.has_value(); });
}

Summary summarize(const std::vector<double>& values) {
  Summary s{.count = values.size()};
  if (values.empty()) return s;
  const double n = double(values.size());
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return s;
  double squares = 0;
  for (const double v : values) squares += (v - s.mean) * (v - s.mean);
  s.error = std::sqrt(squares / (n - 1) / n);
  return s;
}

namespace {

template <class Item>
using Value = std::function<double(const Item&)>;

// A column over every method's list of items.
template <class Item, class List>
Column column(const Results& results, std::string key, std::string title, bool percent, const List& list_of,
              const Value<Item>& value, bool needs_cell = false) {
  Column c{std::move(key), std::move(title), percent, {}};
  for (const MethodResults& m : results.methods) {
    std::vector<double> values;
    for (const Item& item : list_of(m)) values.push_back(value(item));
    const bool applies = !values.empty() && !(needs_cell && m.cell_height == 0);
    c.values.push_back(applies ? std::optional(summarize(values)) : std::nullopt);
  }
  return c;
}

std::vector<Localization> measured(const MethodResults& m) {
  std::vector<Localization> list;
  for (const auto& l : m.localization) {
    if (l) list.push_back(*l);
  }
  return list;
}

Table localization_table(const Results& r) {
  Table t{"localization", "Localization", "", measured(r.methods.front()).size(), {}};
  t.explanation = fmt::format(
      "Does the map of the true class lie on its object? Share of positive relevance inside the true mask "
      "(mass), inside "
      "the mask widened by {0} pixels, and by one cell of the CAM's grid; of the highest pixels, as many as "
      "the mask "
      "has, the share inside it (rank); how often the highest pixel is inside the widened masks (point).",
      tolerance_pixels);
  const auto add = [&](const char* key, const std::string& title, const Value<Localization>& value,
                       bool cell = false) {
    t.columns.push_back(column<Localization>(r, key, title, true, measured, value, cell));
  };
  const std::string pixels = fmt::format("+{} px", tolerance_pixels);
  add("mass", "mass", [](const auto& l) { return l.mass; });
  add("mass_pixels", "mass " + pixels, [](const auto& l) { return l.mass_pixels; });
  add(
      "mass_cell", "mass +cell", [](const auto& l) { return l.mass_cell; }, true);
  add("rank", "rank", [](const auto& l) { return l.rank; });
  add("pointing_pixels", "point " + pixels, [](const auto& l) { return l.pointing_pixels; });
  add(
      "pointing_cell", "point +cell", [](const auto& l) { return l.pointing_cell; }, true);
  add("empty", "empty maps", [](const auto& l) { return double(l.empty); });
  return t;
}

Table object_table(const Results& r) {
  Table t{"two_objects", "Two objects", "", r.several.size(), {}};
  t.explanation =
      "Asked for each class of a picture with several, does the map lie more on that class's object than on "
      "the other "
      "(follows)? Share of positive relevance on either.";
  const auto list = [](const MethodResults& m) { return m.objects; };
  using Share = measures::ObjectShare;
  t.columns.push_back(
      column<Share>(r, "follows", "follows", true, list, [](const auto& s) { return s.follows(); }));
  t.columns.push_back(column<Share>(r, "own", "on its own", true, list, [](const auto& s) { return s.own; }));
  t.columns.push_back(
      column<Share>(r, "other", "on the other", true, list, [](const auto& s) { return s.other; }));
  return t;
}

Table perturbation_table(const Results& r) {
  Table t{"perturbation", "Deletion and insertion", "", r.single.size(), {}};
  t.explanation = fmt::format(
      "The probability of the true class while {0} x {0} patches are replaced by {1}, the most relevant "
      "first "
      "(deletion: low is good), or put back (insertion: high is good): areas under the curves, and insertion "
      "less "
      "deletion (score).",
      r.patch, r.removal == Removal::blur ? "a blurred picture" : "the data's mean colour");
  const auto list = [](const MethodResults& m) { return m.curves; };
  using measures::Curves;
  t.columns.push_back(
      column<Curves>(r, "deletion", "deletion", false, list, [](const auto& c) { return c.deletion_area; }));
  t.columns.push_back(column<Curves>(r, "insertion", "insertion", false, list,
                                     [](const auto& c) { return c.insertion_area; }));
  t.columns.push_back(
      column<Curves>(r, "score", "score", false, list, [](const auto& c) { return c.score(); }));
  return t;
}

}  // namespace

std::vector<Table> tables(const Results& results) {
  std::vector<Table> list;
  if (results.methods.empty()) return list;
  if (results.has_masks()) list.push_back(localization_table(results));
  if (!results.several.empty()) list.push_back(object_table(results));
  if (!results.single.empty()) list.push_back(perturbation_table(results));
  return list;
}

std::vector<Breakdown> breakdown(const Results& results, const MethodResults& method) {
  std::vector<double> right, wrong;
  std::vector<std::size_t> with_mask;
  for (std::size_t i = 0; i < results.single.size(); ++i) {
    const Asked& asked = results.single[i];
    (asked.answer == asked.target ? right : wrong).push_back(method.quality(i));
    if (asked.mask_share > 0) with_mask.push_back(i);
  }
  std::vector<Breakdown> list{{"right answers", summarize(right)}, {"wrong answers", summarize(wrong)}};
  std::stable_sort(with_mask.begin(), with_mask.end(), [&](std::size_t a, std::size_t b) {
    return results.single[a].mask_share < results.single[b].mask_share;
  });
  const char* const thirds[] = {"smallest third of the objects", "middle third", "largest third"};
  for (std::size_t t = 0; t < 3 && with_mask.size() >= 3; ++t) {
    std::vector<double> values;
    for (std::size_t i = t * with_mask.size() / 3; i < (t + 1) * with_mask.size() / 3; ++i) {
      values.push_back(method.quality(with_mask[i]));
    }
    list.push_back({thirds[t], summarize(values)});
  }
  std::erase_if(list, [](const Breakdown& b) { return b.summary.count == 0; });
  return list;
}

}  // namespace retrace::tools
