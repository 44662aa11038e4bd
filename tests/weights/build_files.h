// Weight files made byte by byte, right and wrong ones, and what the tests ask of them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weights/checkpoint.h"

namespace retrace::weights::test {

// A folder of its own, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::size_t entries() const;

 private:
  std::filesystem::path path_;
};

std::filesystem::path fixture(const std::string& name);
std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view bytes);

// read_checkpoint of a file with these bytes; the tensors stay valid.
Checkpoint read_bytes(std::string_view bytes);
// The message of the retrace::Error that `call` must throw, checked to be one line; fails the test otherwise.
std::string error_of(const std::function<void()>& call);
std::string error_of_bytes(std::string_view bytes);
bool contains(std::string_view text, std::string_view part);

// The bytes of a tensor of that name, type and shape; fails the test if it is another. Bytes of values.
std::string raw(const Checkpoint& checkpoint, const std::string& name, DType dtype,
                const std::vector<std::int64_t>& shape);
template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
std::string little(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

// Pieces of pickles; a whole one is pickle(piece).
namespace pk {
std::string pickle(const std::string& body, int protocol = 2);
std::string global(const std::string& module, const std::string& name);
std::string text(const std::string& value);
std::string integer(std::int64_t value);
std::string tuple(std::initializer_list<std::string> items);
std::string integers(const std::vector<std::int64_t>& values);
std::string dict(std::initializer_list<std::pair<std::string, std::string>> items);
std::string call(const std::string& callee, std::initializer_list<std::string> arguments);
// A storage's persistent id and what it pushes. `view` is a piece; none leaves out the sixth part.
std::string storage(const std::string& type, const std::string& key, std::int64_t count,
                    const std::string& view = "");
std::string tensor(const std::string& storage, std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides);
// A float tensor that is the whole of storage `key`.
std::string floats(const std::string& key, std::int64_t count);
}  // namespace pk

struct ZipEntry {
  std::string name, bytes;
  int method = 0, flags = 0;
  bool zip64 = false;  // sizes and offset in the extra field, all ones elsewhere
  // What the archive says of the unfolded bytes; without, the size of `bytes` and the CRC of 0 that PyTorch may write.
  std::optional<std::uint32_t> plain{}, checksum{};
};
std::string zip(const std::vector<ZipEntry>& entries, const std::string& comment = "");
// A torch zip of one pickle piece and its storages.
std::string torch_zip(const std::string& object,
                      const std::vector<std::pair<std::string, std::string>>& storages,
                      const std::vector<ZipEntry>& more = {});

struct LegacyStorage {
  std::string key;
  std::int64_t count;
  std::string bytes;
};
std::string torch_legacy(const std::string& object, const std::vector<LegacyStorage>& storages);

// The record of an archive as NumPy writes it: with its checksum, deflated on request.
ZipEntry numpy_entry(const std::string& name, const std::string& bytes, bool deflated = false);
// An .npy file of version 1.0: this header text, unpadded, and body.
std::string npy(const std::string& header, const std::string& body);

// A safetensors file of this header text and body.
std::string safetensors(const std::string& header, const std::string& body);

}  // namespace retrace::weights::test
