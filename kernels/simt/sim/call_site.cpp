#include "kernels/simt/sim/call_site.h"

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>

namespace retrace::simt {
namespace {

std::string hexadecimal(std::uintptr_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%zx", std::size_t(value));
  return text;
}

std::string program() {
  char path[4096];
  const auto length = readlink("/proc/self/exe", path, sizeof path);
  return length > 0 && std::size_t(length) < sizeof path ? std::string(path, std::size_t(length)) : "";
}

// For a POSIX shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// A line of the wrappers or of the standard library, inlined into the kernel.
bool belongs_to_kernel(const std::string& place) {
  return place.find("/kernels/simt/") == std::string::npos && place.find("/usr/") != 0 &&
         place.find("??") != 0;
}

std::string resolve(const void* return_address) {
  // The call ends where it returns to: one byte earlier is inside it.
  const auto address = reinterpret_cast<std::uintptr_t>(return_address) - 1;
  Dl_info module{};
  if (!dladdr(reinterpret_cast<void*>(address), &module) || !module.dli_fbase) return hexadecimal(address);
  std::string file = module.dli_fname ? module.dli_fname : "";
  if (file.find('/') == std::string::npos || access(file.c_str(), R_OK) != 0) file = program();
  const auto* const header = static_cast<const Elf64_Ehdr*>(module.dli_fbase);
  const std::uintptr_t base =
      header->e_type == ET_DYN ? reinterpret_cast<std::uintptr_t>(module.dli_fbase) : 0;

  std::string best;
  const std::string command =
      "addr2line -i -e " + quoted(file) + " " + hexadecimal(address - base) + " 2>/dev/null";
  struct Close {
    void operator()(FILE* f) const { pclose(f); }
  };
  if (const std::unique_ptr<FILE, Close> lines{popen(command.c_str(), "r")}) {
    char buffer[4096];
    while (std::fgets(buffer, sizeof buffer, lines.get())) {
      std::string line = buffer;
      line.resize(line.find_first_of(" \n") == std::string::npos ? line.size() : line.find_first_of(" \n"));
      if (line.starts_with("??") || line.ends_with(":?")) continue;
      if (best.empty()) best = line;
      if (belongs_to_kernel(line)) {
        best = line;
        break;
      }
    }
  }
  return best.empty() ? file + "+" + hexadecimal(address - base) : best;
}

}  // namespace

std::string CallSite::place() const {
  if (line_) return static_cast<const char*>(where_) + (":" + std::to_string(line_));
  if (!where_) return "an unknown line";
  static std::mutex mutex;
  static auto* const known = new std::map<const void*, std::string>;
  const std::lock_guard lock(mutex);
  auto [entry, is_new] = known->try_emplace(where_);
  if (is_new) entry->second = resolve(where_);
  return entry->second;
}

}  // namespace retrace::simt
