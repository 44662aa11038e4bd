#include "tools/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace retrace::tools {

namespace {

// fmt::print throws where nothing can be written.
void to_stderr(const std::string& text) noexcept {
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

void say(const char* prefix, const std::string& line) noexcept {
  to_stderr(prefix);
  for (const char c : line) std::fputc(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c, stderr);
  std::fputc('\n', stderr);
}

}  // namespace

void print_error(const std::string& line) noexcept {
  say("retrace: error: ", line);
}

void Console::note(const std::string& line) {
  if (quiet_) return;
  wipe();
  say("retrace: ", line);
  draw();
}

void Console::error(const std::string& line) {
  ++errors_;
  wipe();
  print_error(line);
  draw();
}

void Console::result(const std::string& text) {
  wipe();
  // A full disk shows only when the bytes are pushed out.
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw OutputClosed("standard output: cannot be written: " + std::generic_category().message(errno));
  }
  draw();
}

void Console::begin_progress(std::size_t total, std::string what, std::size_t done) {
  total_ = total;
  done_ = begun_at_ = done;
  status_.clear();
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
  const double rate = seconds > 0 ? double(done_ - begun_at_) / seconds : 0;
  const std::string left = rate > 0 ? fmt::format("{:.0f} s left", double(total_ - done_) / rate) : "";
  to_stderr(fmt::format("\r{} [{:#<{}}{:.<{}}] {}/{} {:.1f}/s {}{}{}\033[K", what_, "", filled, "",
                        width - filled, done_, total_, rate, left, status_.empty() ? "" : "  ", status_));
  std::fflush(stderr);
}

void Console::wipe() {
  if (!drawing_) return;
  to_stderr("\r\033[K");
  std::fflush(stderr);
}

}  // namespace retrace::tools
