// A pickle's bytes, read front to back with every length checked.
#pragma once
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace retrace::weights {

class PickleStream {
 public:
  PickleStream(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::size_t position() const { return at_; }
  // Messages speak of the opcode being read, not of its argument.
  void begin_opcode() { opcode_at_ = at_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: pickle, byte {}: {}", where_, opcode_at_, what));
  }

  // A little-endian number.
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  double big_endian_double() {
    std::uint64_t bits = 0;
    for (const char c : take(8)) bits = bits << 8 | static_cast<unsigned char>(c);
    return std::bit_cast<double>(bits);
  }
  std::string_view take(std::uint64_t n) {
    if (n > bytes_.size() - at_) {
      fail(fmt::format("needs {} bytes, but {} are left; the file is cut short or damaged", n,
                       bytes_.size() - at_));
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, std::size_t(n));
    at_ += std::size_t(n);
    return text;
  }
  // Up to the next line feed, which is consumed. Lines are short; a limit keeps damage from scanning a file.
  std::string_view line() {
    const std::size_t most = std::min<std::size_t>(bytes_.size() - at_, 1024);
    const std::string_view ahead(reinterpret_cast<const char*>(bytes_.data()) + at_, most);
    const std::size_t end = ahead.find('\n');
    if (end == std::string_view::npos) fail("a line has no end; the file is cut short or damaged");
    at_ += end + 1;
    return ahead.substr(0, end);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t at_ = 0, opcode_at_ = 0;
};

}  // namespace retrace::weights
