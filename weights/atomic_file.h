// A file that appears under its name only when it is whole. Needs nothing of the rest of this folder:
// attribution/render writes its pictures with it too.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace retrace::weights {

// Whether a file must survive a power cut once it has its name, as a checkpoint must. Waiting for the disk takes
// milliseconds; pictures written by the thousand are better left to the system.
enum class Durability : unsigned char { flushed, cached };

class AtomicFile {
 public:
  // Creates a file in the folder of `path`, without a name where the file system has such files (nothing is left of one even
  // if the process is killed), else under a temporary one. It has the permissions any new file gets, or those of the
  // existing file it will replace; through a symbolic link that is the file it points to. Refused: anything else that exists
  // (a folder, a device, a pipe), a link that points nowhere, a file its owner has protected against writing.
  // This and the members throw Error naming the path and the cause.
  explicit AtomicFile(const std::filesystem::path& path, Durability durability = Durability::flushed);
  // Unless commit() succeeded, nothing is left behind and an older file is untouched.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends.
  void write(std::span<const std::byte> bytes);
  // Replaces bytes that were written, from the `at`-th on.
  void overwrite(std::uint64_t at, std::span<const std::byte> bytes);
  // Lets the system begin to bring to the disk what was written, without waiting for it: for whoever has something else
  // to do before commit().
  void begin_flush();
  // Renames to the target; with Durability::flushed after the bytes have reached the disk, and returns after the new
  // name has. Call it once, last.
  void commit();

 private:
  [[noreturn]] void fail(const char* step, int code) const;
  std::filesystem::path next_name() const;
  void create_named();
  void name_it();
  void copy_to_named();

  std::filesystem::path path_, target_;
  std::filesystem::path temporary_;  // empty: it has no name
  Durability durability_;
  int fd_ = -1;
};

// All of it in one call: `parts` one after the other.
void write_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts,
                      Durability durability);
void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes,
                      Durability durability);

}  // namespace retrace::weights
