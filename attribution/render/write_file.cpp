#include "attribution/render/write_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "kernels/error.h"

namespace retrace::render {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, int code) {
  throw Error(fmt::format("{}: cannot be written: {}", path.string(), std::generic_category().message(code)));
}

// The file a write to `path` has to replace.
fs::path final_target(const fs::path& path) {
  if (path.filename().empty())
    throw Error(fmt::format("'{}': cannot be written: not a file name", path.string()));
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    if (fs::is_symlink(path, error))
      throw Error(fmt::format("{}: cannot be written: a symbolic link that points nowhere", path.string()));
    return path;
  }
  if (error) fail(path, error.value());
  if (fs::is_directory(status))
    throw Error(fmt::format("{}: cannot be written: it is a folder", path.string()));
  if (!fs::is_regular_file(status))
    throw Error(fmt::format("{}: cannot be written: it exists and is not a regular file", path.string()));
  const fs::path resolved = fs::canonical(path, error);
  if (error) fail(path, error.value());
  // A rename would replace a file that its owner has protected against writing.
  if (::access(resolved.c_str(), W_OK) != 0) fail(path, errno);
  return resolved;
}

// An open temporary file, removed again unless it was renamed.
class Temporary {
 public:
  explicit Temporary(const fs::path& target) {
    // The process and a counter make the name unique; a leftover of an earlier process with the same number
    // is stepped over.
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100 && fd_ < 0; ++attempt) {
      path_ = target.parent_path() / fmt::format(".retrace-{}-{}.tmp", ::getpid(), counter++);
      fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0 && errno != EEXIST) break;
    }
    if (fd_ < 0) error_ = errno;
  }
  ~Temporary() {
    if (fd_ >= 0) ::close(fd_);
    if (error_ == 0 && !renamed_) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  // 0, or the reason why there is no file.
  int error() const { return error_; }

  // The following return 0 or an errno.
  int write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return done < 0 ? errno : EIO;
      bytes = bytes.subspan(std::size_t(done));
    }
    return 0;
  }
  int rename_to(const fs::path& target) {
    // Some file systems report a full disk only here.
    const int fd = fd_;
    fd_ = -1;
    if (::close(fd) != 0) return errno;
    if (::rename(path_.c_str(), target.c_str()) != 0) return errno;
    renamed_ = true;
    return 0;
  }

 private:
  fs::path path_;
  int fd_ = -1;
  int error_ = 0;
  bool renamed_ = false;
};

}  // namespace

void write_file(const fs::path& path, std::span<const std::span<const std::byte>> parts) {
  const fs::path target = final_target(path);
  Temporary file(target);
  if (file.error()) fail(path, file.error());
  for (const auto& part : parts)
    if (const int error = file.write(part)) fail(path, error);
  if (const int error = file.rename_to(target)) fail(path, error);
}

void write_file(const fs::path& path, std::span<const std::byte> bytes) {
  write_file(path, std::span(&bytes, 1));
}

}  // namespace retrace::render
