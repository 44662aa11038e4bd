#include "tools/train/log.h"

#include <fmt/format.h>

#include "attribution/render/plot.h"
#include "attribution/render/png.h"
#include "kernels/error.h"
#include "weights/atomic_file.h"

namespace retrace::tools {

TrainLog::TrainLog(const std::filesystem::path& path, std::int64_t up_to) : path_(path) {
  std::string kept;
  if (up_to > 0) {
    std::ifstream before(path);
    int number = 0;
    for (std::string text; std::getline(before, text);) {
      ++number;
      const bool whole = !before.eof();  // what a kill cut off has no line end
      LogLine line = LogLine::parse(text, nullptr, false);
      if (line.is_discarded() || !line.is_object() || !line.contains("step") ||
          !line["step"].is_number_integer()) {
        if (!whole) break;
        throw Error(fmt::format("{}: line {} is no line of a training log", path.string(), number));
      }
      if (!whole || line["step"].get<std::int64_t>() > up_to) break;
      lines_.push_back(std::move(line));
      kept += text + "\n";
    }
  }
  weights::write_atomically(path, std::as_bytes(std::span(kept)), weights::Durability::flushed);
  file_.open(path, std::ios::app);
  if (!file_) throw Error(fmt::format("{}: cannot be written", path.string()));
}

void TrainLog::add(LogLine line) {
  file_ << line.dump() << "\n";
  file_.flush();
  if (!file_) throw Error(fmt::format("{}: cannot be written (is the disk full?)", path_.string()));
  lines_.push_back(std::move(line));
}

void write_curves(const std::filesystem::path& path, const std::vector<LogLine>& lines) {
  const auto series = [&](const char* name, const char* key, bool dashed, double scale) {
    render::Series s{.name = name, .x = {}, .y = {}, .dashed = dashed};
    for (const LogLine& line : lines) {
      if (!line.contains(key)) continue;
      s.x.push_back(line["step"].get<double>());
      s.y.push_back(scale * line[key].get<double>());
    }
    return s;
  };
  const std::vector<render::Chart> charts{
      {.title = "Loss",
       .x_label = "step",
       .y_label = "cross-entropy",
       .series = {series("training", "loss", false, 1), series("validation", "validation_loss", true, 1)},
       .y_min = 0},
      {.title = "Accuracy",
       .x_label = "step",
       .y_label = "%",
       .series = {series("training", "accuracy", false, 100),
                  series("validation", "validation_accuracy", true, 100)},
       .y_min = 0,
       .y_max = 100},
      {.title = "Learning rate",
       .x_label = "step",
       .y_label = "",
       .series = {series("", "rate", false, 1)},
       .y_min = 0}};
  render::write_png(path, render::draw_charts(charts, 3, 480, 320));
}

}  // namespace retrace::tools
