#include "tools/train/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "attribution/render/plot.h"
#include "attribution/render/png.h"
#include "kernels/error.h"

namespace retrace::tools {

TrainLog::TrainLog(const std::filesystem::path& path, std::int64_t up_to) : path_(path) {
  open();
  try {
    std::string text;
    char bytes[65536];
    for (ssize_t got = 1; up_to > 0 && got > 0;) {
      got = ::read(fd_, bytes, sizeof bytes);
      if (got < 0) throw Error(fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)));
      text.append(bytes, std::size_t(got));
    }
    // In place: that takes no room on a full disk, and the lock stays.
    if (::ftruncate(fd_, off_t(keep(text, up_to))) != 0) fail(errno);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

TrainLog::~TrainLog() {
  ::close(fd_);
}

void TrainLog::open() {
  // Not waiting: a pipe's other end may never come.
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
  if (fd_ < 0) fail(errno);
  struct stat status {};
  const bool regular = ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  // Some file systems know no locks: then there is none.
  const bool taken = regular && ::flock(fd_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (regular && !taken) return;
  ::close(fd_);
  throw Error(fmt::format("{}: {}", path_.string(),
                          taken ? "another training run is writing it" : "not a regular file"));
}

std::size_t TrainLog::keep(const std::string& text, std::int64_t up_to) {
  std::size_t kept = 0;
  for (int number = 1;; ++number) {
    const std::size_t end = text.find('\n', kept);
    if (end == std::string::npos) return kept;  // what a kill cut off has no line end
    LogLine line = LogLine::parse(text.substr(kept, end - kept), nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) {
      throw Error(fmt::format("{}: line {} is no line of a training log", path_.string(), number));
    }
    if (line["step"].get<std::int64_t>() > up_to) return kept;
    lines_.push_back(std::move(line));
    kept = end + 1;
  }
}

void TrainLog::add(LogLine line) {
  const std::string text = line.dump() + "\n";
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = ::write(fd_, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) fail(errno);
    if (written > 0) done += std::size_t(written);
  }
  lines_.push_back(std::move(line));
}

void TrainLog::fail(int error) const {
  throw Error(fmt::format("{}: cannot be written: {}", path_.string(), std::strerror(error)));
}

void write_curves(const std::filesystem::path& path, const std::vector<LogLine>& lines) {
  const auto series = [&](const char* name, const char* key, bool dashed, double scale) {
    render::Series s{.name = name, .x = {}, .y = {}, .dashed = dashed};
    for (const LogLine& line : lines) {
      if (!line.contains(key) || !line[key].is_number()) continue;
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
