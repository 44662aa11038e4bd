// A training run's log, one JSON object a line, and the curves drawn from it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace retrace::tools {

using LogLine = nlohmann::ordered_json;

class TrainLog {
 public:
  // A new log (`up_to` 0), or one that goes on: lines past step `up_to`, and a last line that was cut off, are removed
  // first. Error naming the file if it cannot be written, a line of it read, or another run is writing it: as long as
  // this object lives, no other process can have the same log.
  TrainLog(const std::filesystem::path& path, std::int64_t up_to);
  ~TrainLog();
  TrainLog(const TrainLog&) = delete;
  TrainLog& operator=(const TrainLog&) = delete;
  // Appends a line and pushes it out; every line has a "step". Error if that fails.
  void add(LogLine line);
  const std::vector<LogLine>& lines() const { return lines_; }

 private:
  void open();
  // Takes over the lines up to step `up_to`; returns how many bytes they are.
  std::size_t keep(const std::string& text, std::int64_t up_to);
  [[noreturn]] void fail(int error) const;

  std::filesystem::path path_;
  std::vector<LogLine> lines_;
  int fd_ = -1;
};

// Loss, accuracy and rate over the steps as one picture.
void write_curves(const std::filesystem::path& path, const std::vector<LogLine>& lines);

}  // namespace retrace::tools
