#include "weights/tar_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::size_t block = 512;
constexpr std::uint64_t none = ~std::uint64_t(0);

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& where)
      : text_(reinterpret_cast<const char*>(bytes.data()), bytes.size()), bytes_(bytes), where_(where) {}

  TarEntries read() {
    std::uint64_t size_ahead = none;
    // Two blocks of zeros end an archive; one, or the file's end, is enough here as for other programs.
    while (at_ < text_.size() && text_.size() - at_ >= block && !zeros(text_.substr(at_, block))) {
      const std::string_view header = text_.substr(at_, block);
      check(header);
      const std::string name(field(header, 0, 100));
      const std::uint64_t size = size_ahead != none ? size_ahead : octal(header, 124, 12, "size");
      const char type = header[156];
      at_ += block;
      if (size > text_.size() - at_) {
        fail(fmt::format("entry {} of {} bytes is cut short", quote(name), size));
      }
      const std::string_view body = text_.substr(at_, size);
      if (type == 'x') {
        size_ahead = pax_size(body);
      } else if (type == '0' || type == '\0') {
        size_ahead = none;
        if (!entries_.emplace(name, bytes_.subspan(at_, size)).second) {
          fail(fmt::format("two entries are named {}", quote(name)));
        }
      } else if (type != 'g') {
        fail(fmt::format(
            "entry {} is no regular file; a checkpoint has four of those (extract the archive first?)",
            quote(name)));
      }
      // The last body may lack its padding.
      at_ += std::min<std::uint64_t>((size + block - 1) / block * block, text_.size() - at_);
    }
    return std::move(entries_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: tar archive, byte {}: {}", where_, at_, what));
  }

  static bool zeros(std::string_view text) { return text.find_first_not_of('\0') == std::string_view::npos; }

  static std::string_view field(std::string_view header, std::size_t at, std::size_t n) {
    const std::string_view whole = header.substr(at, n);
    return whole.substr(0, whole.find('\0'));
  }

  std::uint64_t octal(std::string_view header, std::size_t at, std::size_t n, const char* what) const {
    std::uint64_t value = 0;  // at most 12 digits
    bool any = false;
    for (const char c : header.substr(at, n)) {
      if (c == ' ' && !any) continue;
      if (c == ' ' || c == '\0') break;
      if (c < '0' || c > '7') fail(fmt::format("an entry's {} is not octal", what));
      value = value * 8 + std::uint64_t(c - '0');
      any = true;
    }
    if (!any) fail(fmt::format("an entry has no {}", what));
    return value;
  }

  // The sum of the header's bytes, its own field taken as spaces.
  void check(std::string_view header) const {
    std::uint64_t sum = 8 * std::uint64_t(' ');
    for (std::size_t i = 0; i < block; ++i) {
      if (i < 148 || i >= 156) sum += static_cast<unsigned char>(header[i]);
    }
    if (sum != octal(header, 148, 8, "checksum")) fail("an entry's header does not match its checksum");
  }

  // Records "LENGTH KEY=VALUE\n"; of interest is the size of a file that its header has no room for.
  std::uint64_t pax_size(std::string_view records) const {
    std::uint64_t size = none;
    while (!records.empty()) {
      const auto [length, digits] = decimal(records);
      if (digits == 0 || length <= digits + 1 || length > records.size() || records[length - 1] != '\n') {
        fail("a pax record is damaged");
      }
      std::string_view record = records.substr(digits + 1, length - digits - 2);
      records.remove_prefix(length);
      if (record.starts_with("path=")) fail("an entry has a long name; a checkpoint's are short");
      if (!record.starts_with("size=")) continue;
      record.remove_prefix(5);
      const auto [value, used] = decimal(record);
      if (used == 0 || used != record.size()) fail("a pax record's size is not a number");
      size = value;
    }
    return size;
  }

  // A number and how many digits it has, at most 18.
  static std::pair<std::uint64_t, std::size_t> decimal(std::string_view text) {
    std::uint64_t value = 0;
    std::size_t n = 0;
    for (; n < text.size() && n < 18 && text[n] >= '0' && text[n] <= '9'; ++n)
      value = value * 10 + std::uint64_t(text[n] - '0');
    return {value, n};
  }

  std::string_view text_;
  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
  TarEntries entries_;
};

}  // namespace

TarEntries read_tar(std::span<const std::byte> bytes, const std::string& where) {
  return Reader(bytes, where).read();
}

}  // namespace retrace::weights
