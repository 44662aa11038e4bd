#include "weights/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::uint32_t local_magic = 0x04034b50;
constexpr std::uint32_t central_magic = 0x02014b50;
constexpr std::uint32_t end_magic = 0x06054b50;
constexpr std::uint32_t end64_magic = 0x06064b50;
constexpr std::uint32_t locator64_magic = 0x07064b50;
constexpr std::size_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;

class Directory {
 public:
  Directory(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::map<std::string_view, ZipArchive::Record> read() {
    find_directory();
    std::uint64_t at = begin_;
    for (std::uint64_t i = 0; i < entries_; ++i) at = read_entry(at);
    if (at != begin_ + size_) {
      fail(fmt::format("the central directory of {} bytes holds records for {}", size_, at - begin_));
    }
    check_overlap();
    return std::move(records_);
  }

 private:
  struct Extent {
    std::uint64_t begin, end;
    std::string_view name;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: zip archive: {}", where_, what));
  }

  // A little-endian number; the caller has checked that it lies in the file.
  template <class T>
  T get(std::uint64_t at) const {
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  bool fits(std::uint64_t at, std::uint64_t n) const {
    return at <= bytes_.size() && n <= bytes_.size() - at;
  }
  std::string_view text(std::uint64_t at, std::size_t n) const {
    return {reinterpret_cast<const char*>(bytes_.data()) + at, n};
  }

  // The end record is the last thing in the file but for a comment of known length.
  void find_directory() {
    if (bytes_.size() < end_size) fail("shorter than its smallest possible end");
    const std::uint64_t last = bytes_.size() - end_size;
    const std::uint64_t first = last > 0xffff ? last - 0xffff : 0;
    std::uint64_t end = last + 1;
    while (end-- > first) {
      if (get<std::uint32_t>(end) == end_magic && get<std::uint16_t>(end + 20) == last - end) break;
      if (end == first) fail("has no end record; the file is cut short or damaged");
    }
    entries_ = get<std::uint16_t>(end + 10);
    size_ = get<std::uint32_t>(end + 12);
    begin_ = get<std::uint32_t>(end + 16);
    std::uint64_t disks = get<std::uint16_t>(end + 4) | get<std::uint16_t>(end + 6);
    std::uint64_t entries_here = get<std::uint16_t>(end + 8);
    std::uint64_t limit = end;

    if (end >= locator64_size && get<std::uint32_t>(end - locator64_size) == locator64_magic) {
      const std::uint64_t at = get<std::uint64_t>(end - locator64_size + 8);
      if (!fits(at, end64_size) || at + end64_size > end - locator64_size ||
          get<std::uint32_t>(at) != end64_magic) {
        fail("its zip64 end record is not where the locator says");
      }
      disks = get<std::uint32_t>(at + 16) | get<std::uint32_t>(at + 20);
      entries_here = get<std::uint64_t>(at + 24);
      entries_ = get<std::uint64_t>(at + 32);
      size_ = get<std::uint64_t>(at + 40);
      begin_ = get<std::uint64_t>(at + 48);
      limit = at;
    }
    if (disks != 0 || entries_here != entries_) fail("spans several disks");
    if (begin_ > limit || size_ > limit - begin_) {
      fail(fmt::format("its central directory ({} bytes from {}) does not lie before its end record at {}",
                       size_, begin_, limit));
    }
  }

  std::uint64_t read_entry(std::uint64_t at) {
    const std::uint64_t left = begin_ + size_ - at;
    if (left < central_size || get<std::uint32_t>(at) != central_magic) {
      fail(fmt::format("no central record at byte {}", at));
    }
    const std::size_t name_size = get<std::uint16_t>(at + 28);
    const std::size_t extra_size = get<std::uint16_t>(at + 30);
    const std::size_t comment_size = get<std::uint16_t>(at + 32);
    const std::uint64_t whole = central_size + name_size + extra_size + comment_size;
    if (left < whole) fail(fmt::format("the central record at byte {} is cut short", at));
    const std::string_view name = text(at + central_size, name_size);

    ZipArchive::Record record;
    record.encrypted = (get<std::uint16_t>(at + 8) & 1) != 0;
    record.method = get<std::uint16_t>(at + 10);
    std::uint64_t compressed = get<std::uint32_t>(at + 20);
    std::uint64_t plain = get<std::uint32_t>(at + 24);
    std::uint64_t local = get<std::uint32_t>(at + 42);
    read_zip64(at + central_size + name_size, extra_size, name, {&plain, &compressed, &local});

    if (local > begin_ || begin_ - local < local_size || get<std::uint32_t>(local) != local_magic) {
      fail(fmt::format("record {} has no local header at byte {}", quote(name), local));
    }
    const std::size_t local_name = get<std::uint16_t>(local + 26);
    const std::uint64_t data = local + local_size + local_name + get<std::uint16_t>(local + 28);
    if (data > begin_ || compressed > begin_ - data) {
      fail(fmt::format("record {} of {} bytes does not lie before the central directory", quote(name),
                       compressed));
    }
    if (text(local + local_size, local_name) != name || get<std::uint16_t>(local + 8) != record.method) {
      fail(fmt::format("record {} differs between its local header and the central directory", quote(name)));
    }
    if (record.method == 0 && compressed != plain) {
      fail(fmt::format("stored record {} takes {} bytes but says it holds {}", quote(name), compressed,
                       plain));
    }
    record.bytes = bytes_.subspan(data, compressed);
    record.plain = plain;
    record.checksum = get<std::uint32_t>(at + 16);
    if (!records_.emplace(name, record).second) fail(fmt::format("two records are named {}", quote(name)));
    extents_.push_back({local, data + compressed, name});
    return at + whole;
  }

  // Fields that do not fit 32 bits are all ones, and their values follow in this order in the extra field 1.
  void read_zip64(std::uint64_t at, std::size_t size, std::string_view name,
                  std::initializer_list<std::uint64_t*> fields) const {
    constexpr std::uint64_t elsewhere = 0xffffffff;
    if (std::none_of(fields.begin(), fields.end(), [](auto* field) { return *field == elsewhere; })) return;
    const std::uint64_t end = at + size;
    while (end - at >= 4) {
      const std::uint16_t id = get<std::uint16_t>(at), length = get<std::uint16_t>(at + 2);
      at += 4;
      if (length > end - at) break;
      if (id != 1) {
        at += length;
        continue;
      }
      std::uint64_t value = at;
      for (std::uint64_t* field : fields) {
        if (*field != elsewhere) continue;
        if (at + length - value < 8)
          fail(fmt::format("record {}: its zip64 sizes are cut short", quote(name)));
        *field = get<std::uint64_t>(value);
        value += 8;
      }
      return;
    }
    fail(fmt::format("record {}: its zip64 sizes are missing", quote(name)));
  }

  void check_overlap() {
    std::sort(extents_.begin(), extents_.end(),
              [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < extents_.size(); ++i) {
      if (extents_[i].begin < extents_[i - 1].end) {
        fail(fmt::format("records {} and {} overlap", quote(extents_[i - 1].name), quote(extents_[i].name)));
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::uint64_t begin_ = 0, size_ = 0, entries_ = 0;  // of the central directory
  std::map<std::string_view, ZipArchive::Record> records_;
  std::vector<Extent> extents_;
};

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string where) : where_(std::move(where)) {
  records_ = Directory(bytes, where_).read();
}

std::span<const std::byte> ZipArchive::record(std::string_view name) const {
  const auto found = records_.find(name);
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("{}: zip record {}: {}", where_, quote(name), what));
  };
  if (found == records_.end()) fail("is not in the archive");
  if (found->second.encrypted) fail("is encrypted");
  if (found->second.method != 0) {
    fail(fmt::format("is compressed (method {}); PyTorch stores its records as they are",
                     found->second.method));
  }
  return found->second.bytes;
}

}  // namespace retrace::weights
