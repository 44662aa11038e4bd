#include "weights/npy_header.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::size_t longest_text = 65535;
constexpr std::size_t most_dimensions = 64;  // NumPy's own limit

constexpr std::pair<std::string_view, DType> types[] = {
    {"f8", DType::f64}, {"f4", DType::f32}, {"f2", DType::f16}, {"i8", DType::i64},
    {"i4", DType::i32}, {"i2", DType::i16}, {"i1", DType::i8},  {"u8", DType::u64},
    {"u4", DType::u32}, {"u2", DType::u16}, {"u1", DType::u8},  {"b1", DType::boolean}};

// What an element type that is not read is.
std::string_view describe(std::string_view type) {
  switch (type.empty() ? '\0' : type[0]) {
    case 'O':
      return "Python objects, which are pickled, and no pickle is executed here";
    case 'V':
      return "raw bytes (the way bf16 and 8-bit floats of other libraries are saved; save them as f4)";
    case 'c':
      return "complex numbers";
    case 'f':
      return "floats of another size";
    case 'S':
    case 'a':
    case 'U':
      return "text";
    case 'M':
    case 'm':
      return "dates or durations";
    default:
      return "of no known kind";
  }
}

// The literal, front to back. Nothing nests, so nothing recurses.
class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  void read(NpyHeader& header) {
    bool descr = false, order = false, shape = false;
    const auto once = [&](bool& seen, std::string_view key) {
      if (std::exchange(seen, true)) fail(fmt::format("key {} stands twice", quote(key)));
    };
    expect('{');
    while (!take('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr") {
        once(descr, key);
        read_type(header);
      } else if (key == "fortran_order") {
        once(order, key);
        header.fortran_order = boolean();
      } else if (key == "shape") {
        once(shape, key);
        header.shape = tuple();
      } else {
        fail(fmt::format("unknown key {}", quote(key)));
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (at_ != text_.size()) fail("something follows the dict");
    if (!descr || !order || !shape) {
      fail(fmt::format("has no '{}'", !descr ? "descr" : !order ? "fortran_order" : "shape"));
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: npy header, at character {}: {}", where_, at_, what));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char next() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char wanted) {
    if (next() != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (take(wanted)) return;
    fail(at_ < text_.size() ? fmt::format("found {}, expected '{}'", quote(text_.substr(at_, 1)), wanted)
                            : fmt::format("ends where '{}' is expected", wanted));
  }

  std::string_view string() {
    const char mark = next();
    if (mark != '\'' && mark != '"') {
      fail(fmt::format("found {}, expected a string", quote(text_.substr(at_, 1))));
    }
    const std::size_t end = text_.find_first_of(mark == '"' ? "\"\\\n" : "'\\\n", at_ + 1);
    if (end == std::string_view::npos || text_[end] != mark) fail("a string has no end, or an escape in it");
    const std::string_view value = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return value;
  }

  bool boolean() {
    (void)next();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    fail("expected True or False");
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    bool comma = true;
    expect('(');
    while (!take(')')) {
      if (!comma) expect(',');  // fails, and says what stands there
      if (sizes.size() == most_dimensions) fail(fmt::format("more than {} dimensions", most_dimensions));
      sizes.push_back(number());
      comma = take(',');
    }
    if (sizes.size() == 1 && !comma) fail("the shape is a number in brackets, expected a tuple");
    return sizes;
  }

  std::int64_t number() {
    (void)next();
    const std::size_t begin = at_;
    std::optional<std::int64_t> value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      value = value ? checked_mul<std::int64_t>(*value, 10) : value;
      value = value ? checked_add<std::int64_t>(*value, text_[at_] - '0') : value;
    }
    if (at_ == begin) fail("a size is not a whole number from 0");
    if (!value) fail(fmt::format("size {} is too large", quote(text_.substr(begin, at_ - begin))));
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2's long numbers
    return *value;
  }

  void read_type(NpyHeader& header) {
    const char first = next();
    if (first == '[' || first == '(' || first == '{')
      fail("the elements are structured; save each field as an array");
    const std::string_view descr = string();
    const bool ordered = !descr.empty() && std::string_view("<>=|").find(descr[0]) != std::string_view::npos;
    const std::string_view type = descr.substr(ordered ? 1 : 0);
    for (const auto& [name, dtype] : types) {
      if (!ordered || name != type) continue;
      header.dtype = dtype;
      header.big_endian = descr[0] == '>';  // = and | mean the order of the machine that reads
      return;
    }
    fail(fmt::format(
        "element type {} is not read ({}); f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1 are, with < > = or | before",
        quote(descr), ordered || type == "O" ? describe(type) : "it has no byte order"));
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

}  // namespace

std::size_t npy_header_size(std::span<const std::byte> start, const std::string& where) {
  const auto fail = [&](const std::string& what) { throw Error(fmt::format("{}: {}", where, what)); };
  if (start.size() < magic.size() + 2 || std::memcmp(start.data(), magic.data(), magic.size()) != 0) {
    fail("does not begin like a NumPy array");
  }
  const auto major = std::to_integer<int>(start[6]), minor = std::to_integer<int>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    fail(fmt::format("npy version {}.{}; 1.0, 2.0 and 3.0 are read", major, minor));
  }
  const std::size_t length_size = major == 1 ? 2 : 4;
  std::uint32_t length = 0;
  if (start.size() < 8 + length_size) fail("npy header is cut short");
  std::memcpy(&length, start.data() + 8, length_size);
  if (length > longest_text)
    fail(fmt::format("npy header of {} bytes, at most {} are read", length, longest_text));
  return 8 + length_size + length;
}

NpyHeader read_npy_header(std::span<const std::byte> bytes, const std::string& where) {
  NpyHeader header;
  header.size = npy_header_size(bytes, where);
  if (header.size > bytes.size()) {
    throw Error(
        fmt::format("{}: npy header of {} bytes is cut short at {}", where, header.size, bytes.size()));
  }
  header.version = std::to_integer<int>(bytes[6]);
  const std::size_t begin = bytes[6] == std::byte{1} ? 10 : 12;
  Parser({reinterpret_cast<const char*>(bytes.data()) + begin, header.size - begin}, where).read(header);
  const auto count = element_count(header.shape);
  const auto total =
      count ? checked_mul(std::uint64_t(*count), std::uint64_t(dtype_size(header.dtype))) : std::nullopt;
  if (!total) throw Error(fmt::format("{}: npy shape {} is not possible", where, shape_text(header.shape)));
  header.data_bytes = *total;
  return header;
}

}  // namespace retrace::weights
