// What was measured, for people and programs.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "attribution/render/picture.h"
#include "tools/evaluate/results.h"

namespace retrace::tools {

// The files that show one method's maps; names in the report's folder, empty where there is none.
struct Gallery {
  std::string method, worst, best, objects;
};

std::string text_report(const Results& results);
nlohmann::ordered_json json_report(const Results& results);
// The whole page: tables, curves, and the galleries with what they show.
std::string markdown_report(const Results& results, const std::vector<Gallery>& galleries);
// Rows: true classes; columns: answers.
std::string confusion_csv(const Results& results);
// Rows: methods and baselines; columns: mean and standard error of each measure, empty where it does not apply.
std::string measures_csv(const Results& results);
// The mean deletion and insertion curve of each method, baselines dashed. Throws Error where none was measured.
Picture curves_picture(const Results& results);

// "confusion.csv", "curves.png" … as the page names them.
constexpr const char* curves_file = "curves.png";

}  // namespace retrace::tools
