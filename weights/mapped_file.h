// A file's bytes, mapped read-only. Other programs must not shorten the file while it is read: the system
// ends a process that touches a page beyond a mapped file's end.
#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace retrace::weights {

class MappedFile {
 public:
  // Throws Error if the file cannot be opened or mapped, is not a regular file (a folder, a pipe …) or is
  // empty.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  // Bytes that are in memory already and stay there; `name` stands in messages where a path would.
  static std::shared_ptr<const MappedFile> view(std::string name, std::span<const std::byte> bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::string path, const std::byte* data, std::size_t size, bool mapped)
      : path_(std::move(path)), data_(data), size_(size), mapped_(mapped) {}

  std::string path_;
  const std::byte* data_;
  std::size_t size_;
  bool mapped_;  // to be unmapped
};

}  // namespace retrace::weights
