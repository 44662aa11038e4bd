#include "weights/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernels/error.h"

namespace retrace::weights {
namespace fs = std::filesystem;

AtomicFile::AtomicFile(const fs::path& target) : target_(target) {
  std::error_code ignored;
  if (fs::is_symlink(target, ignored)) {
    std::error_code error;
    target_ = fs::weakly_canonical(target, error);
    if (error) throw Error(fmt::format("{}: cannot follow the link: {}", target.string(), error.message()));
  }
  const fs::file_status status = fs::status(target_, ignored);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw Error(
        fmt::format("{}: exists and is not a regular file, so it will not be replaced", target_.string()));
  }
  // The name is taken only if it is free, with the permissions any new file gets.
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.partial-{}-{}", target_.string(), ::getpid(), attempt);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno != EEXIST || attempt == 1000)) fail("create a file beside it");
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* doing) const {
  throw Error(fmt::format("{}: cannot {}: {}", target_.string(), doing, std::strerror(errno)));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Linux writes at most 2 GiB a call.
    const ssize_t written = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    bytes = bytes.subspan(std::size_t(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0) fail("flush to the disk");
  const int closing = fd_;
  fd_ = -1;
  if (::close(closing) != 0) fail("close");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("rename the finished file to it");
  temporary_.clear();
  // The new name lives in the folder, which has to reach the disk too. Some file systems cannot sync a
  // folder; the file itself is safe there, so that is no failure.
  const fs::path folder = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    ::fsync(fd);
    ::close(fd);
  }
}

}  // namespace retrace::weights
