#include "tools/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace retrace::tools {

void Console::note(const std::string& line) {
  if (quiet_) return;
  wipe();
  fmt::print(stderr, "retrace: {}\n", line);
  draw();
}

void Console::error(const std::string& line) {
  ++errors_;
  wipe();
  fmt::print(stderr, "retrace: error: {}\n", line);
  draw();
}

void Console::begin_progress(std::size_t total, std::string what) {
  total_ = total;
  done_ = 0;
  what_ = std::move(what);
  begun_ = drawn_ = std::chrono::steady_clock::now();
  drawing_ = !quiet_ && total > 1 && isatty(STDERR_FILENO);
  draw();
}

void Console::advance(std::size_t by) {
  done_ += by;
  const auto now = std::chrono::steady_clock::now();
  if (now - drawn_ < std::chrono::milliseconds(50) && done_ < total_) return;
  drawn_ = now;
  draw();
}

void Console::end_progress() {
  wipe();
  drawing_ = false;
}

void Console::draw() {
  if (!drawing_) return;
  constexpr std::size_t width = 30;
  const std::size_t filled = total_ ? done_ * width / total_ : width;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  const double rate = seconds > 0 ? double(done_) / seconds : 0;
  const std::string left = rate > 0 ? fmt::format("{:.0f} s left", double(total_ - done_) / rate) : "";
  fmt::print(stderr, "\r{} [{:#<{}}{:.<{}}] {}/{} {:.1f}/s {}\033[K", what_, "", filled, "", width - filled, done_,
             total_, rate, left);
  std::fflush(stderr);
}

void Console::wipe() {
  if (drawing_) fmt::print(stderr, "\r\033[K");
}

}  // namespace retrace::tools
