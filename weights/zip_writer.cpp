#include "weights/zip_writer.h"

#include <zlib.h>

#include <algorithm>

namespace retrace::weights {
namespace {

// Little-endian, as all of a zip archive.
void put(std::string& out, std::uint64_t value, int bytes) {
  for (; bytes > 0; --bytes, value >>= 8) out += char(value & 0xff);
}

constexpr std::uint64_t utf8_names = 1 << 11, no_date = 0x21;  // 1 January 1980, the first that zip knows

}  // namespace

void ZipWriter::write(const std::string& bytes) {
  file_.write(std::as_bytes(std::span(bytes)));
  at_ += bytes.size();
}

std::uint32_t ZipWriter::field(std::uint64_t value) const {
  return value >= elsewhere_ ? 0xffffffff : std::uint32_t(value);
}

void ZipWriter::add(std::string_view name, std::initializer_list<std::span<const std::byte>> parts) {
  std::uint64_t size = 0;
  uLong sum = 0;
  for (const auto part : parts) {
    size += part.size();
    sum = ::crc32_z(sum, reinterpret_cast<const Bytef*>(part.data()), part.size());
  }
  const std::uint64_t begin = at_;
  const bool large = size >= elsewhere_, far = begin >= elsewhere_;
  const bool ascii =
      std::all_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });

  // What the local header and the central record share, from the needed version on.
  std::string common;
  put(common, large || far ? 45 : 20, 2);
  put(common, ascii ? 0 : utf8_names, 2);
  put(common, 0, 2);  // stored
  put(common, 0, 2);
  put(common, no_date, 2);
  put(common, sum, 4);
  put(common, field(size), 4);
  put(common, field(size), 4);
  put(common, name.size(), 2);

  std::string extra;
  if (large) {
    put(extra, size, 8);
    put(extra, size, 8);
  }
  const auto with_head = [](const std::string& fields) {
    std::string out;
    if (fields.empty()) return out;
    put(out, 1, 2);
    put(out, fields.size(), 2);
    return out + fields;
  };
  const std::string local_extra = with_head(extra);
  if (far) put(extra, begin, 8);
  const std::string central_extra = with_head(extra);

  std::string local = "PK\x03\x04" + common;
  put(local, local_extra.size(), 2);
  write(local + std::string(name) + local_extra);
  for (const auto part : parts) file_.write(part);
  at_ += size;

  directory_ += "PK\x01\x02";
  put(directory_, 45, 2);  // made by
  directory_ += common;
  put(directory_, central_extra.size(), 2);
  put(directory_, 0, 2 + 2 + 2 + 4);  // comment, disk, attributes
  put(directory_, field(begin), 4);
  directory_ += std::string(name) + central_extra;
  ++count_;
}

void ZipWriter::finish() {
  const std::uint64_t begin = at_, size = directory_.size();
  write(directory_);
  std::string end;
  if (begin >= elsewhere_ || size >= elsewhere_ || count_ >= 0xffff) {
    const std::uint64_t end64 = at_;
    end += "PK\x06\x06";
    put(end, 44, 8);  // bytes of this record from here on
    put(end, 45, 2);
    put(end, 45, 2);
    put(end, 0, 8);  // disks
    put(end, count_, 8);
    put(end, count_, 8);
    put(end, size, 8);
    put(end, begin, 8);
    end += "PK\x06\x07";
    put(end, 0, 4);
    put(end, end64, 8);
    put(end, 1, 4);
  }
  end += "PK\x05\x06";
  put(end, 0, 4);
  const std::uint64_t shown = std::min<std::uint64_t>(count_, 0xffff);
  put(end, shown, 2);
  put(end, shown, 2);
  put(end, field(size), 4);
  put(end, field(begin), 4);
  put(end, 0, 2);
  write(end);
}

}  // namespace retrace::weights
