// Our door to zlib.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace retrace::data {

// A file's contents in order, plain or compressed by gzip (told by its first two bytes). Never holds more than the file
// itself and what the caller asks for. Every complaint is an Error that begins with the file's name.
class ByteSource {
 public:
  // No such file, not a regular file, not readable, larger than 2^30 bytes.
  explicit ByteSource(const std::filesystem::path& path);
  ~ByteSource();

  const std::string& name() const { return name_; }
  // No contents can be longer than this: the file's size, times deflate's best where it is compressed.
  std::uint64_t most_bytes() const;
  // Fills `out`. Throws where the contents end before, saying what `what` was, or compression is damaged.
  void read(std::span<std::uint8_t> out, const std::string& what);
  // Throws where anything is left, or the checksum at the end is wrong.
  void finish();

 private:
  struct Stream;
  std::string name_;
  std::vector<std::uint8_t> bytes_;
  std::size_t position_ = 0;        // of plain contents
  std::unique_ptr<Stream> stream_;  // of compressed ones
};

}  // namespace retrace::data
