// A line of a kernel: named by the compiler where a function took a source_location, or found from the return
// address of a watcher's hook through the debugging information, when somebody asks.
#pragma once
#include <compare>
#include <source_location>
#include <string>

namespace retrace::simt {

class CallSite {
 public:
  constexpr CallSite() = default;
  CallSite(const std::source_location& at) : file_(at.file_name()), line_(at.line()) {}  // NOLINT: implicit
  CallSite(const char* file, unsigned line) : file_(file), line_(line) {}
  static CallSite returning_to(const void* address) {
    CallSite site;
    site.address_ = address;
    return site;
  }

  // "file:line"; "module+0xoffset" where there is no debugging information or no addr2line (binutils).
  std::string place() const;

  auto operator<=>(const CallSite&) const = default;

 private:
  const char* file_ = nullptr;  // a literal: equal lines of one translation unit compare equal
  unsigned line_ = 0;
  const void* address_ = nullptr;
};

}  // namespace retrace::simt
