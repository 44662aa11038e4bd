#include "weights/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <vector>

#include "kernels/error.h"

namespace retrace::weights {
namespace {

namespace fs = std::filesystem;

constexpr const char* own_files = "/proc/self/fd";

[[noreturn]] void refuse(const fs::path& path, const std::string& why) {
  throw Error(fmt::format("{}: cannot be written: {}", path.empty() ? "''" : path.string(), why));
}

std::string text_of(int code) {
  return std::generic_category().message(code);
}

// The file that writing to `path` has to replace or create.
fs::path final_target(const fs::path& path) {
  if (path.filename().empty()) refuse(path, "not a file name");
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    if (fs::is_symlink(path, error)) refuse(path, "a symbolic link that points nowhere");
    return path;
  }
  if (error) refuse(path, error.message());
  if (fs::is_directory(status)) refuse(path, "it is a folder");
  if (!fs::is_regular_file(status)) refuse(path, "it exists and is not a regular file");
  const fs::path resolved = fs::canonical(path, error);
  if (error) refuse(path, error.message());
  // A rename would replace a file that its owner has protected against writing.
  if (::access(resolved.c_str(), W_OK) != 0) refuse(path, text_of(errno));
  return resolved;
}

// Best effort: some file systems cannot sync a folder; the file itself is safe there, so that is no failure.
void flush_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& path, Durability durability)
    : path_(path), target_(final_target(path)), durability_(durability) {
  const fs::path folder = target_.parent_path();
  if (::access(own_files, X_OK) == 0) {
    fd_ = ::open(folder.empty() ? "." : folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0666);
  }
  if (fd_ < 0) create_named();
  // A file that is replaced passes on who may read it, as far as that is possible.
  struct stat before {};
  if (::stat(target_.c_str(), &before) == 0) (void)!::fchmod(fd_, before.st_mode & 0777);
}

// The process and a counter make the name unique among processes and threads; what an earlier process with the same number
// left is stepped over. A short name of its own: the target's may be as long as names can be.
fs::path AtomicFile::next_name() const {
  static std::atomic<unsigned> counter{0};
  return target_.parent_path() / fmt::format(".retrace-{}-{}.tmp", ::getpid(), counter++);
}

void AtomicFile::create_named() {
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = next_name();
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == 1000)) fail("no file can be created beside it", errno);
  }
}

// Gives the finished file a name, so that it can be renamed.
void AtomicFile::name_it() {
  if (!temporary_.empty()) return;
  const std::string file = fmt::format("{}/{}", own_files, fd_);
  for (int attempt = 0; temporary_.empty(); ++attempt) {
    const fs::path name = next_name();
    if (::linkat(AT_FDCWD, file.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = name;
    } else if (errno != EEXIST || attempt == 1000) {
      return copy_to_named();  // what has been made is not lost to a file system that cannot do the second half
    }
  }
}

void AtomicFile::copy_to_named() {
  const int nameless = fd_;
  fd_ = -1;
  struct stat made {};
  (void)::fstat(nameless, &made);
  try {
    create_named();
    (void)!::fchmod(fd_, made.st_mode & 0777);
    std::vector<std::byte> part(1 << 20);
    for (off_t at = 0;;) {
      const ssize_t got = ::pread(nameless, part.data(), part.size(), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail("reading it back", errno);
      if (got == 0) break;
      write(std::span(part).first(std::size_t(got)));
      at += got;
    }
    if (durability_ == Durability::flushed && ::fsync(fd_) != 0) fail("flushing it to the disk", errno);
  } catch (...) {
    ::close(nameless);
    throw;
  }
  ::close(nameless);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* step, int code) const {
  refuse(path_, *step ? fmt::format("{}: {}", step, text_of(code)) : text_of(code));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Linux writes at most 2 GiB a call.
    const ssize_t written = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("", written < 0 ? errno : EIO);
    bytes = bytes.subspan(std::size_t(written));
  }
}

void AtomicFile::overwrite(std::uint64_t at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), off_t(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("", written < 0 ? errno : EIO);
    bytes = bytes.subspan(std::size_t(written));
    at += std::uint64_t(written);
  }
}

void AtomicFile::begin_flush() {
#ifdef SYNC_FILE_RANGE_WRITE
  if (durability_ == Durability::flushed) ::sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE);  // a hint
#endif
}

void AtomicFile::commit() {
  if (durability_ == Durability::flushed && ::fsync(fd_) != 0) fail("flushing it to the disk", errno);
  name_it();
  // Some file systems report a full disk only at the close.
  const int closing = fd_;
  fd_ = -1;
  if (::close(closing) != 0) fail("", errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("renaming the finished file to it", errno);
  temporary_.clear();
  if (durability_ == Durability::flushed) flush_folder(target_.parent_path());
}

void write_atomically(const fs::path& path, std::span<const std::span<const std::byte>> parts,
                      Durability durability) {
  AtomicFile file(path, durability);
  for (const auto& part : parts) file.write(part);
  file.commit();
}

void write_atomically(const fs::path& path, std::span<const std::byte> bytes, Durability durability) {
  write_atomically(path, std::span(&bytes, 1), durability);
}

}  // namespace retrace::weights
