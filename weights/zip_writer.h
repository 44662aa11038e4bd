// Writing a zip archive of records stored as they are (PKWARE APPNOTE 6.3). Sizes and offsets from 4 GiB on, and more
// than 65534 records, are written the zip64 way; smaller archives have nothing of it, for readers that do not know it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "weights/atomic_file.h"

namespace retrace::weights {

class ZipWriter {
 public:
  // Appends to `file`, which is empty and stays the caller's to commit. Numbers from `elsewhere` on go into zip64
  // fields; tests lower it.
  explicit ZipWriter(AtomicFile& file, std::uint64_t elsewhere = 0xffffffff)
      : file_(file), elsewhere_(elsewhere) {}

  // One record of these bytes, one part after the other. `name` is UTF-8 of at most 65535 bytes.
  void add(std::string_view name, std::initializer_list<std::span<const std::byte>> parts);
  // The central directory; call it once, last.
  void finish();

 private:
  void write(const std::string& bytes);
  std::uint32_t field(std::uint64_t value) const;

  AtomicFile& file_;
  std::uint64_t elsewhere_;
  std::uint64_t at_ = 0, count_ = 0;
  std::string directory_;
};

}  // namespace retrace::weights
