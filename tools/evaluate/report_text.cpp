// The same numbers as text on a terminal and as a Markdown page.
#include <fmt/format.h>

#include <algorithm>

#include "tools/evaluate/report.h"

namespace retrace::tools {
namespace {

// Mean and standard error; of a single value there is none.
std::string shown(const Summary& s, bool percent) {
  if (s.count < 2) return percent ? fmt::format("{:.1f}", 100 * s.mean) : fmt::format("{:.3f}", s.mean);
  return percent ? fmt::format("{:.1f} ± {:.1f}", 100 * s.mean, 100 * s.error)
                 : fmt::format("{:.3f} ± {:.3f}", s.mean, s.error);
}

std::string with_percent(const Column& column) {
  return column.percent ? column.title + " %" : column.title;
}

// Letters on a terminal: "±" is one.
std::size_t letters(const std::string& text) {
  return std::size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width, bool left = false) {
  const std::string space(width - std::min(width, letters(text)), ' ');
  return left ? text + space : space + text;
}

// Rows of cells with columns as wide as they need; the first is aligned left.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], letters(row[c]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line = " ";
    for (std::size_t c = 0; c < row.size(); ++c)
      line += " " + padded(row[c], widths[c] + (c ? 1 : 0), c == 0);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string markdown(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    text += "|";
    for (std::string cell : rows[r]) {
      for (std::size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2)
        cell.replace(at, 1, "\\|");
      text += " " + cell + " |";
    }
    text += "\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < rows[r].size(); ++c) text += c ? "|---:" : "|---";
    text += "|\n";
  }
  return text;
}

std::vector<std::vector<std::string>> cells(const Results& r, const Table& table) {
  std::vector<std::vector<std::string>> rows{{"method"}};
  for (const Column& column : table.columns) rows.front().push_back(with_percent(column));
  for (std::size_t m = 0; m < r.methods.size(); ++m) {
    rows.push_back({r.methods[m].baseline ? "(" + r.methods[m].name + ")" : r.methods[m].name});
    for (const Column& column : table.columns)
      rows.back().push_back(column.values[m] ? shown(*column.values[m], column.percent) : "-");
  }
  return rows;
}

std::vector<std::vector<std::string>> confusion_cells(const Accuracy& a) {
  std::vector<std::vector<std::string>> rows{{"true \\ answer"}};
  for (const std::string& label : a.labels) rows.front().push_back(label);
  for (std::size_t c = 0; c < a.labels.size(); ++c) {
    rows.push_back({a.labels[c]});
    for (const std::size_t n : a.confusion[c]) rows.back().push_back(n ? std::to_string(n) : ".");
  }
  return rows;
}

double percent(std::size_t part, std::size_t all) {
  return 100 * double(part) / double(std::max<std::size_t>(1, all));
}

std::vector<std::string> accuracy_lines(const Accuracy& a) {
  std::vector<std::string> lines;
  if (a.one_class) {
    lines.push_back(fmt::format("one class: {:.2f} % right ({} of {})", percent(a.right, a.one_class),
                                a.right, a.one_class));
  }
  if (a.several) {
    lines.push_back(
        fmt::format("several classes: the best answer is one of them in {:.2f} %, the best are exactly "
                    "them in {:.2f} % ({} samples)",
                    percent(a.best_among, a.several), percent(a.all_found, a.several), a.several));
  }
  return lines;
}

// Larger matrices go to confusion.csv only.
constexpr std::size_t most_classes_shown = 20;

std::string no_masks_line(const Results& r) {
  if (r.single.empty() || r.has_masks()) return "";
  return "the data has no masks: whether maps lie on their objects is not measured";
}

std::string cells_line(const Results& r) {
  std::string text;
  for (const MethodResults& m : r.methods) {
    if (!m.cam) continue;
    text += fmt::format("{}{}: {} x {} pixels", text.empty() ? "cells: " : ", ", m.name, m.cell_height,
                        m.cell_width);
  }
  return text.empty() ? text : text + "; the coarsest for the others";
}

}  // namespace

std::string text_report(const Results& r) {
  std::string text = fmt::format("{} on {}: {} samples\n", r.model, r.data, r.samples);
  for (const std::string& line : accuracy_lines(r.accuracy)) text += "  " + line + "\n";
  if (r.accuracy.one_class && r.accuracy.labels.size() <= most_classes_shown) {
    text += "\nConfusion (rows: true class)\n" + aligned(confusion_cells(r.accuracy));
  }
  for (const Table& table : tables(r)) {
    text += fmt::format("\n{} ({} {}; mean ± standard error)\n", table.title, table.count,
                        table.key == "two_objects" ? "questions" : "pictures");
    text += aligned(cells(r, table));
    if (table.key == "localization" && !cells_line(r).empty()) text += "  " + cells_line(r) + "\n";
  }
  if (const std::string line = no_masks_line(r); !line.empty()) text += "\n" + line + "\n";
  return text;
}

std::string markdown_report(const Results& r, const std::vector<Gallery>& galleries) {
  std::string text = fmt::format("# {} on `{}`\n\n{} samples.\n", r.model, r.data, r.samples);
  for (const std::string& line : accuracy_lines(r.accuracy)) text += fmt::format("- {}\n", line);
  if (r.accuracy.one_class && r.accuracy.labels.size() <= most_classes_shown) {
    text += "\n## Confusion\n\n" + markdown(confusion_cells(r.accuracy));
  }
  for (const Table& table : tables(r)) {
    text += fmt::format("\n## {}\n\n{} {} {}; mean ± standard error; baselines in brackets.\n\n", table.title,
                        table.explanation, table.count,
                        table.key == "two_objects" ? "questions" : "pictures, whatever the network answered");
    text += markdown(cells(r, table));
    if (table.key == "localization" && !cells_line(r).empty()) text += "\n" + cells_line(r) + ".\n";
    if (table.key == "perturbation")
      text += fmt::format("\n![deletion and insertion curves]({})\n", curves_file);
  }
  if (const std::string line = no_masks_line(r); !line.empty()) text += "\n" + line + ".\n";

  for (const Gallery& gallery : galleries) {
    const auto method = std::find_if(r.methods.begin(), r.methods.end(),
                                     [&](const MethodResults& m) { return m.name == gallery.method; });
    if (method == r.methods.end()) continue;
    const bool masks = r.has_masks();
    text += fmt::format("\n## {}\n\n", gallery.method);
    if (!r.single.empty()) {
      text += fmt::format("Where it does well and where not, by {}:\n\n",
                          !masks ? "its score"
                          : method->cam
                              ? "mass inside the mask widened by one cell"
                              : fmt::format("mass inside the mask widened by {} pixels", tolerance_pixels));
      std::vector<std::vector<std::string>> rows{{"", masks ? "mean %" : "mean", "pictures"}};
      for (const Breakdown& b : breakdown(r, *method)) {
        rows.push_back({b.what, shown(b.summary, masks), std::to_string(b.summary.count)});
      }
      text += markdown(rows);
    }
    const char* const shows = masks ? "the picture, the map, and the true object: bright inside its mask, "
                                      "yellow where the mask is widened"
                                    : "the picture and the map";
    if (!gallery.worst.empty())
      text += fmt::format("\nThe worst ({}):\n\n![worst]({})\n", shows, gallery.worst);
    if (!gallery.best.empty()) text += fmt::format("\nThe best:\n\n![best]({})\n", gallery.best);
    if (!gallery.objects.empty()) {
      text += fmt::format("\nSeveral objects, where the map follows least:\n\n![several objects]({})\n",
                          gallery.objects);
    }
  }
  return text;
}

}  // namespace retrace::tools
