// What is said: results, and they alone, on standard output; everything else on standard error.
#pragma once
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace retrace::tools {

// Standard output cannot be written. Not a retrace::Error: those are one picture's trouble, after this one
// nobody hears about the next picture.
class OutputClosed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "retrace: error: …" on standard error: one line, control characters (of file names, say) replaced by '?'.
// Never throws: nobody may be listening.
void print_error(const std::string& line) noexcept;

class Console {
 public:
  explicit Console(bool quiet = false) : quiet_(quiet) {}
  ~Console() { end_progress(); }
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  void note(const std::string& line);   // not with --quiet
  void error(const std::string& line);  // always; counts
  int errors() const { return errors_; }
  // Writes text to standard output, at once, past a progress bar. Throws OutputClosed.
  void result(const std::string& text);

  // A progress bar with rate and time left, on a terminal only. A total of 1 draws none.
  // `done`: what an earlier run had done of it.
  void begin_progress(std::size_t total, std::string what, std::size_t done = 0);
  // What stands behind the bar, from the next advance on.
  void set_status(std::string status) { status_ = std::move(status); }
  void advance(std::size_t by = 1);
  void end_progress();

 private:
  void draw();
  void wipe();
  bool quiet_;
  int errors_ = 0;
  bool drawing_ = false;
  std::size_t total_ = 0, done_ = 0, begun_at_ = 0;
  std::string what_, status_;
  std::chrono::steady_clock::time_point begun_, drawn_;
};

}  // namespace retrace::tools
