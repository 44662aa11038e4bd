// A line of a kernel: named by the compiler where a function took a source_location, or found from the return
// address of a watcher's hook through the debugging information, when somebody asks.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

namespace retrace::simt {

class CallSite {
 public:
  constexpr CallSite() = default;
  CallSite(const std::source_location& at) : CallSite(at.file_name(), at.line()) {}  // NOLINT: implicit
  CallSite(const char* file, unsigned line) : where_(file), line_(line) {}
  static CallSite returning_to(const void* address) {
    CallSite site;
    site.where_ = address;
    return site;
  }

  // "file:line"; "module+0xoffset" where there is no debugging information or no addr2line (binutils).
  std::string place() const;

  auto operator<=>(const CallSite&) const = default;
  // For tables of a power of two of slots.
  std::size_t hash() const {
    return (reinterpret_cast<std::uintptr_t>(where_) + line_) * 0x9e3779b97f4a7c15u >> 40;
  }

 private:
  // With a line: the file's name, a literal (equal lines of one translation unit compare equal). Without: an address
  // in the program.
  const void* where_ = nullptr;
  unsigned line_ = 0;
};

}  // namespace retrace::simt
