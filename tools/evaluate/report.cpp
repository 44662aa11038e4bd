// JSON, CSV and curves; text and Markdown are in report_text.cpp.
#include "tools/evaluate/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "attribution/render/plot.h"
#include "kernels/error.h"

namespace retrace::tools {

using Json = nlohmann::ordered_json;

namespace {

Json summary_json(const std::optional<Summary>& s) {
  if (!s) return nullptr;
  return {{"mean", s->mean}, {"standard_error", s->error}};
}

struct MeanCurves {
  std::vector<double> share, deletion, insertion;
};

MeanCurves mean_curves(const MethodResults& method) {
  MeanCurves mean;
  for (const measures::Curves& c : method.curves) {
    const double weight = 1 / double(method.curves.size());
    for (auto* const list : {&mean.share, &mean.deletion, &mean.insertion}) list->resize(c.share.size(), 0);
    for (std::size_t i = 0; i < c.share.size(); ++i) {
      mean.share[i] += weight * c.share[i];
      mean.deletion[i] += weight * c.deletion[i];
      mean.insertion[i] += weight * c.insertion[i];
    }
  }
  return mean;
}

// RFC 4180.
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

Json json_report(const Results& r) {
  const Accuracy& a = r.accuracy;
  Json json{{"data", r.data}, {"model", r.model}, {"samples", r.samples}, {"labels", a.labels}};
  const auto share = [](std::size_t part, std::size_t all) {
    return all ? Json(double(part) / double(all)) : Json();
  };
  json["one_class"] = {
      {"samples", a.one_class}, {"right", a.right}, {"accuracy", share(a.right, a.one_class)}};
  json["several_classes"] = {{"samples", a.several},
                             {"best_is_one_of_them", share(a.best_among, a.several)},
                             {"best_are_exactly_them", share(a.all_found, a.several)}};
  json["confusion"] = a.confusion;
  std::size_t right = 0;
  for (const Asked& asked : r.single) right += asked.answer == asked.target;
  json["explained"] = {
      {"one_class", r.single.size()}, {"of_these_right", right}, {"several_classes", r.several.size()}};
  json["masks"] = r.has_masks();
  json["tolerance_pixels"] = tolerance_pixels;
  json["perturbation"] = {
      {"patch", r.patch}, {"steps", r.steps}, {"removed", r.removal == Removal::blur ? "blur" : "grey"}};
  json["methods"] = Json::array();
  const auto all = tables(r);
  for (std::size_t m = 0; m < r.methods.size(); ++m) {
    const MethodResults& method = r.methods[m];
    Json row{{"method", method.name}, {"baseline", method.baseline}};
    row["cell"] = method.cell_height ? Json{method.cell_height, method.cell_width} : Json();
    for (const Table& table : all) {
      Json group{{"count", table.count}};
      for (const Column& column : table.columns) group[column.key] = summary_json(column.values[m]);
      row[table.key] = std::move(group);
    }
    if (!method.curves.empty()) {
      MeanCurves mean = mean_curves(method);
      row["curves"] = {{"share", mean.share}, {"deletion", mean.deletion}, {"insertion", mean.insertion}};
    }
    if (!method.baseline && !r.single.empty()) {
      for (const Breakdown& b : breakdown(r, method)) {
        row["quality"].push_back({{"of", b.what}, {"count", b.summary.count}, {"mean", b.summary.mean}});
      }
    }
    json["methods"].push_back(std::move(row));
  }
  return json;
}

std::string confusion_csv(const Results& r) {
  std::string text = "true class";
  for (const std::string& label : r.accuracy.labels) text += "," + csv_cell(label);
  text += "\n";
  for (std::size_t c = 0; c < r.accuracy.labels.size(); ++c) {
    text += csv_cell(r.accuracy.labels[c]);
    for (const std::size_t n : r.accuracy.confusion[c]) text += fmt::format(",{}", n);
    text += "\n";
  }
  return text;
}

std::string measures_csv(const Results& r) {
  const auto all = tables(r);
  std::string text = "method,baseline";
  for (const Table& table : all) {
    for (const Column& column : table.columns) {
      text += fmt::format(",{0}.{1},{0}.{1}.standard_error", table.key, column.key);
    }
  }
  text += "\n";
  for (std::size_t m = 0; m < r.methods.size(); ++m) {
    text += csv_cell(r.methods[m].name) + (r.methods[m].baseline ? ",1" : ",0");
    for (const Table& table : all) {
      for (const Column& column : table.columns) {
        const auto& s = column.values[m];
        text += s ? fmt::format(",{:.6g},{:.6g}", s->mean, s->error) : ",,";
      }
    }
    text += "\n";
  }
  return text;
}

Picture curves_picture(const Results& r) {
  if (r.single.empty()) throw Error("no deletion and insertion curves were measured");
  const std::string by = fmt::format("share of the picture (patches of {0} x {0})", r.patch);
  render::Chart charts[] = {{.title = "Deletion: low is good",
                             .x_label = by,
                             .y_label = "probability of the true class",
                             .series = {},
                             .y_min = 0,
                             .y_max = 1},
                            {.title = "Insertion: high is good",
                             .x_label = by,
                             .y_label = "probability of the true class",
                             .series = {},
                             .y_min = 0,
                             .y_max = 1}};
  for (const MethodResults& method : r.methods) {
    MeanCurves mean = mean_curves(method);
    charts[0].series.push_back({method.name, mean.share, mean.deletion, method.baseline});
    charts[1].series.push_back({method.name, mean.share, mean.insertion, method.baseline});
  }
  return render::draw_charts(charts, 2, 600, 420);
}

}  // namespace retrace::tools
