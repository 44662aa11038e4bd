// A whole file in memory of this process: pages mapped for it, filled by reading once. The file itself is not mapped,
// for the system ends a process that touches a page of a mapped file which another program has cut off.
#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace retrace::weights {

class MappedFile {
 public:
  // How many bytes `check` below gets to see.
  static constexpr std::size_t start_size = 512;
  // Is given the first bytes (fewer of a shorter file) before the rest is read, and throws if the file is of no use:
  // a film of 50 GB is told by its first bytes.
  using Check = std::function<void(std::span<const std::byte>)>;

  // Follows symbolic links. Throws Error, naming the file, if it cannot be opened or read, is not a regular file (a
  // folder, a pipe, a device, a socket) or is empty, if it does not fit in memory, and if it was written to while it
  // was read, as far as its size and time of modification tell.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path, const Check& check = {});
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
