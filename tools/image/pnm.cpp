#include "tools/image/pnm.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "tools/image/limits.h"

namespace retrace::image {
namespace {

class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  // The next decimal number, after white space and comments (from '#' to the end of the line).
  std::int64_t number(const char* what) {
    for (; at_ < bytes_.size(); ++at_) {
      if (bytes_[at_] == '#')
        while (at_ < bytes_.size() && bytes_[at_] != '\n' && bytes_[at_] != '\r') ++at_;
      else if (!is_space(bytes_[at_]))
        break;
    }
    if (at_ >= bytes_.size())
      throw Error(fmt::format("{}: the PNM file is cut short: it ends before the {}", name_, what));
    std::int64_t value = 0;
    const std::size_t start = at_;
    for (; at_ < bytes_.size() && bytes_[at_] >= '0' && bytes_[at_] <= '9'; ++at_) {
      value = value * 10 + (bytes_[at_] - '0');
      if (value > 1'000'000'000) break;
    }
    if (at_ == start || value > 1'000'000'000)
      throw Error(
          fmt::format("{}: the PNM file's {} at byte {} is not a number in range", name_, what, start));
    return value;
  }

  // The single white space between the header and raw levels.
  void end_header() {
    if (at_ >= bytes_.size() || !is_space(bytes_[at_]))
      throw Error(fmt::format("{}: the PNM file has no white space after its header at byte {}", name_, at_));
    ++at_;
  }

  std::span<const std::uint8_t> rest() const { return bytes_.subspan(at_); }

 private:
  static bool is_space(std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

  std::span<const std::uint8_t> bytes_;
  const std::string& name_;
  std::size_t at_ = 2;
};

}  // namespace

Picture read_pnm(std::span<const std::uint8_t> bytes, const std::string& name) {
  const bool plain = bytes[1] == '2' || bytes[1] == '3', colour = bytes[1] == '3' || bytes[1] == '6';
  Reader reader(bytes, name);
  const std::int64_t width = reader.number("width"), height = reader.number("height");
  check_dimensions(width, height, name);
  const std::int64_t most = reader.number("maximum level");
  if (most < 1 || most > 65535)
    throw Error(fmt::format("{}: the PNM file's maximum level is {}, expected 1 to 65535", name, most));

  const std::size_t pixels = std::size_t(width) * std::size_t(height), levels = pixels * (colour ? 3 : 1);
  const std::size_t size = most > 255 ? 2 : 1;
  if (!plain) reader.end_header();
  const auto raw = reader.rest();
  // A plain level takes two characters at least, but the last.
  if (plain ? raw.size() < 2 * levels : raw.size() < levels * size)
    throw Error(
        fmt::format("{}: the PNM file is cut short: {} bytes for {} levels", name, raw.size(), levels));

  Picture picture{int(width), int(height), std::vector<std::uint8_t>(pixels * 3)};
  for (std::size_t i = 0; i < levels; ++i) {
    std::int64_t level = 0;
    if (plain)
      level = reader.number("last level");
    else if (size == 1)
      level = raw[i];
    else
      level = raw[2 * i] << 8 | raw[2 * i + 1];
    if (level > most)
      throw Error(fmt::format("{}: the PNM file has level {} beyond its maximum {}", name, level, most));
    const auto value = std::uint8_t((level * 255 + most / 2) / most);
    if (colour)
      picture.rgb[i] = value;
    else
      picture.rgb[3 * i] = picture.rgb[3 * i + 1] = picture.rgb[3 * i + 2] = value;
  }
  return picture;
}

}  // namespace retrace::image
