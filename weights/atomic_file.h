// A file that appears under its name only when it is whole.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace retrace::weights {

class AtomicFile {
 public:
  // Creates a file under a temporary name beside `target` (what a symbolic link points to, if it is one).
  // Throws Error if `target` exists and is no regular file, or if the folder cannot be written.
  explicit AtomicFile(const std::filesystem::path& target);
  // Removes the temporary file unless commit() succeeded.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends; throws Error (a full disk, for instance).
  void write(std::span<const std::byte> bytes);
  // Flushes to the disk and renames to the target; throws Error.
  void commit();

 private:
  [[noreturn]] void fail(const char* doing) const;

  std::filesystem::path target_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace retrace::weights
