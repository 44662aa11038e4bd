#include "attribution/render/npy.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "kernels/error.h"
#include "weights/atomic_file.h"

namespace retrace::render {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

constexpr std::string_view magic = "\x93NUMPY";

// The number of values; -1 where a side is negative or the product does not fit.
std::int64_t count_of(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t side : shape)
    if (side < 0 || __builtin_mul_overflow(count, side, &count)) return -1;
  return count;
}

// As Python prints a tuple: (), (3,), (3, 4).
std::string tuple(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += fmt::format("{}{}", i ? ", " : "", shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

// The text after `key` and the colon in the header's Python dictionary, empty if there is none.
std::string_view value_of(std::string_view header, std::string_view key) {
  const std::size_t at = header.find(fmt::format("'{}'", key));
  if (at == header.npos) return {};
  header.remove_prefix(at + key.size() + 2);
  const std::size_t start = header.find_first_not_of(" :");
  return start == header.npos ? std::string_view{} : header.substr(start);
}

}  // namespace

void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> shape,
               std::span<const float> values) {
  if (count_of(shape) != std::int64_t(values.size()))
    throw Error(fmt::format("{}: shape {} does not hold the {} values given", path.string(), tuple(shape),
                            values.size()));
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}", tuple(shape));
  // The values start at a multiple of 64; the padding is spaces and the header ends with a newline.
  constexpr std::size_t prefix = 10;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header += '\n';
  if (header.size() > 65535)
    throw Error(fmt::format("{}: a shape of {} dimensions does not fit into a version 1.0 header",
                            path.string(), shape.size()));
  const std::string start =
      std::string(magic) + '\x01' + '\x00' + char(header.size() & 255) + char(header.size() >> 8) + header;
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(start)),
                                                        std::as_bytes(values)};
  weights::write_atomically(path, parts, weights::Durability::cached);
}

NpyArray read_npy(const std::filesystem::path& path) {
  const auto bad = [&](std::string_view what) { return Error(fmt::format("{}: {}", path.string(), what)); };
  if (!std::filesystem::is_regular_file(path)) throw bad("not a file");
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw bad("cannot be read");
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (bytes.size() < 12 || !bytes.starts_with(magic)) throw bad("not an .npy file");
  const auto byte = [&](std::size_t i) { return std::size_t(static_cast<unsigned char>(bytes[i])); };
  const std::size_t major = byte(6);
  if (major < 1 || major > 3) throw bad(fmt::format(".npy version {}, expected 1, 2 or 3", major));
  const std::size_t prefix = major == 1 ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > bytes.size() - prefix) throw bad("the file ends inside the header");
  const std::string_view header(bytes.data() + prefix, length);

  if (!value_of(header, "descr").starts_with("'<f4'"))
    throw bad("the values are not '<f4' (float32, little-endian)");
  if (!value_of(header, "fortran_order").starts_with("False")) throw bad("the array is not in C order");
  std::string_view text = value_of(header, "shape");
  if (!text.starts_with('(')) throw bad("the header has no shape");
  text.remove_prefix(1);
  NpyArray array;
  for (;;) {
    const std::size_t next = text.find_first_not_of(" ,");
    if (next == text.npos) throw bad("the header's shape has no end");
    text.remove_prefix(next);
    if (text.front() == ')') break;
    std::int64_t side = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), side);
    if (error != std::errc{} || side < 0) throw bad("the header's shape is not a list of sizes");
    array.shape.push_back(side);
    text.remove_prefix(std::size_t(end - text.data()));
  }
  const std::size_t held = bytes.size() - prefix - length;
  const std::int64_t count = count_of(array.shape);
  if (count < 0 || std::uint64_t(count) > held / 4 || std::uint64_t(count) * 4 != held)
    throw bad(fmt::format("shape {} needs 4 bytes a value, the file holds {} bytes of values",
                          tuple(array.shape), held));
  array.values.resize(std::size_t(count));
  if (count) std::memcpy(array.values.data(), bytes.data() + prefix + length, held);
  return array;
}

}  // namespace retrace::render
