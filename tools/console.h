// What is said to a person, always on standard error: results alone go to standard output.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>

namespace retrace::tools {

class Console {
 public:
  explicit Console(bool quiet) : quiet_(quiet) {}
  void note(const std::string& line);   // not with --quiet
  void error(const std::string& line);  // always; counts
  int errors() const { return errors_; }

  // A progress bar with rate and time left, on a terminal only. A total of 1 draws none.
  void begin_progress(std::size_t total, std::string what);
  void advance(std::size_t by = 1);
  void end_progress();

 private:
  void draw();
  void wipe();
  bool quiet_;
  int errors_ = 0;
  bool drawing_ = false;
  std::size_t total_ = 0, done_ = 0;
  std::string what_;
  std::chrono::steady_clock::time_point begun_, drawn_;
};

}  // namespace retrace::tools
