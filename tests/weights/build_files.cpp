#include "build_files.h"

#include <doctest/doctest.h>
#include <unistd.h>
#include <zlib.h>

#include <fstream>
#include <iterator>

#include "kernels/error.h"

namespace retrace::weights::test {
namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "retrace-weights-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::size_t TemporaryFolder::entries() const {
  return std::size_t(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
}

fs::path fixture(const std::string& name) {
  return fs::path(RETRACE_WEIGHTS_FIXTURES) / name;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const fs::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), std::streamsize(bytes.size()));
  out.close();
  REQUIRE(out);
}

Checkpoint read_bytes(std::string_view bytes) {
  // A mapping outlives its file's name, so the folder may go.
  const TemporaryFolder folder;
  write_file(folder / "file", bytes);
  return read_checkpoint(folder / "file");
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    const std::string message = error.what();
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
  FAIL_CHECK("no error was thrown");
  return "";
}

std::string error_of_bytes(std::string_view bytes) {
  return error_of([&] { read_bytes(bytes); });
}

bool contains(std::string_view text, std::string_view part) {
  if (text.find(part) != std::string_view::npos) return true;
  MESSAGE("'" << text << "' does not contain '" << part << "'");
  return false;
}

std::string raw(const Checkpoint& checkpoint, const std::string& name, DType dtype,
                const std::vector<std::int64_t>& shape) {
  const HostTensor* tensor = checkpoint.find(name);
  INFO(name);
  REQUIRE(tensor != nullptr);
  REQUIRE(tensor->dtype == dtype);
  REQUIRE(tensor->shape == shape);
  return {reinterpret_cast<const char*>(tensor->data.get()), tensor->byte_size()};
}

namespace pk {

std::string pickle(const std::string& body, int protocol) {
  return std::string("\x80") + char(protocol) + body + ".";
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string text(const std::string& value) {
  return "X" + little(std::uint32_t(value.size())) + value;
}
std::string integer(std::int64_t value) {
  return std::string("\x8a\x08") + little(value);
}

std::string tuple(std::initializer_list<std::string> items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}

std::string integers(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) out += integer(value);
  return out + "t";
}

std::string dict(std::initializer_list<std::pair<std::string, std::string>> items) {
  std::string out = "}(";
  for (const auto& [key, value] : items) out += text(key) + value;
  return out + "u";
}

std::string call(const std::string& callee, std::initializer_list<std::string> arguments) {
  return callee + tuple(arguments) + "R";
}

std::string storage(const std::string& type, const std::string& key, std::int64_t count,
                    const std::string& view) {
  const std::string start =
      text("storage") + global("torch", type) + text(key) + text("cpu") + integer(count) + view;
  return "(" + start + "tQ";
}

std::string tensor(const std::string& storage, std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              {storage, integer(offset), integers(shape), integers(strides), "\x89",
               call(global("collections", "OrderedDict"), {})});
}

std::string floats(const std::string& key, std::int64_t count) {
  return tensor(storage("FloatStorage", key, count), 0, {count}, {1});
}

}  // namespace pk

std::string zip(const std::vector<ZipEntry>& entries, const std::string& comment) {
  std::string out, directory;
  for (const ZipEntry& entry : entries) {
    const auto size = std::uint32_t(entry.bytes.size()), plain = entry.plain.value_or(size);
    const auto at = std::uint32_t(out.size());
    const std::string common = little(std::uint16_t(20)) + little(std::uint16_t(entry.flags)) +
                               little(std::uint16_t(entry.method)) + little(std::uint32_t(0)) +
                               little(entry.checksum.value_or(0));  // version … time, checksum
    const auto name_size = little(std::uint16_t(entry.name.size()));
    out += "PK\x03\x04" + common + little(size) + little(plain) + name_size + little(std::uint16_t(0)) +
           entry.name + entry.bytes;
    std::string extra;
    const std::uint32_t ones = 0xffffffff;
    if (entry.zip64) {
      // Another extra field stands before it, as other programs write.
      extra = little(std::uint16_t(0x5455)) + little(std::uint16_t(1)) + "x" + little(std::uint16_t(1)) +
              little(std::uint16_t(24)) + little(std::uint64_t(plain)) + little(std::uint64_t(size)) +
              little(std::uint64_t(at));
    }
    directory += "PK\x01\x02" + little(std::uint16_t(20)) + common + little(entry.zip64 ? ones : size) +
                 little(entry.zip64 ? ones : plain) + name_size + little(std::uint16_t(extra.size())) +
                 little(std::uint16_t(0)) + little(std::uint16_t(0)) + little(std::uint16_t(0)) +
                 little(std::uint32_t(0)) + little(entry.zip64 ? ones : at) + entry.name + extra;
  }
  const auto count = std::uint16_t(entries.size());
  return out + directory + "PK\x05\x06" + little(std::uint32_t(0)) + little(count) + little(count) +
         little(std::uint32_t(directory.size())) + little(std::uint32_t(out.size())) +
         little(std::uint16_t(comment.size())) + comment;
}

std::string torch_zip(const std::string& object,
                      const std::vector<std::pair<std::string, std::string>>& storages,
                      const std::vector<ZipEntry>& more) {
  std::vector<ZipEntry> entries{{"archive/data.pkl", pk::pickle(object)}};
  for (const auto& [key, bytes] : storages) entries.push_back({"archive/data/" + key, bytes});
  entries.insert(entries.end(), more.begin(), more.end());
  return zip(entries);
}

std::string torch_legacy(const std::string& object, const std::vector<LegacyStorage>& storages) {
  const std::string magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  std::string keys = "](", bodies;
  for (const LegacyStorage& storage : storages) {
    keys += pk::text(storage.key);
    bodies += little(storage.count) + storage.bytes;
  }
  return pk::pickle(magic) + pk::pickle(pk::integer(1001)) + pk::pickle("}") + pk::pickle(object) +
         pk::pickle(keys + "e") + bodies;
}

ZipEntry numpy_entry(const std::string& name, const std::string& bytes, bool deflated) {
  ZipEntry entry{name, bytes};
  const auto* const data = reinterpret_cast<const Bytef*>(bytes.data());
  entry.checksum = std::uint32_t(::crc32_z(0, data, bytes.size()));
  entry.plain = std::uint32_t(bytes.size());
  if (!deflated) return entry;
  entry.method = 8;
  z_stream stream{};
  REQUIRE(::deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  entry.bytes.resize(::deflateBound(&stream, uLong(bytes.size())));
  stream.next_in = const_cast<Bytef*>(data);
  stream.avail_in = uInt(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(entry.bytes.data());
  stream.avail_out = uInt(entry.bytes.size());
  REQUIRE(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  entry.bytes.resize(stream.total_out);
  ::deflateEnd(&stream);
  return entry;
}

std::string npy(const std::string& header, const std::string& body) {
  return std::string("\x93NUMPY\x01\x00", 8) + little(std::uint16_t(header.size())) + header + body;
}

std::string safetensors(const std::string& header, const std::string& body) {
  return little(std::uint64_t(header.size())) + header + body;
}

}  // namespace retrace::weights::test
