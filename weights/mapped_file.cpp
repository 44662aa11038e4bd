#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "kernels/error.h"

namespace retrace::weights {
namespace {

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

constexpr std::size_t enough_for_huge_pages = 8u << 20;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(fmt::format("{}: {}", name, what));
}

std::string text_of(int code) {
  return std::generic_category().message(code);
}

const char* file_kind(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a regular file";
}

[[noreturn]] void refuse_kind(const std::string& name, mode_t mode) {
  fail(name, fmt::format("is {}, expected a regular weight file", file_kind(mode)));
}

struct stat status_of(int fd, const std::string& name) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail(name, fmt::format("cannot examine: {}", text_of(errno)));
  return status;
}

// Reads bytes [at, end) of the file to their places in memory that begins at `data`.
void read_part(int fd, const std::string& name, std::byte* data, std::size_t at, std::size_t end,
               std::size_t size) {
  while (at < end) {
    // Linux reads at most 2 GiB a call.
    const ssize_t got = ::read(fd, data + at, std::min<std::size_t>(end - at, 1u << 30));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(name, fmt::format("cannot read at byte {}: {}", at, text_of(errno)));
    if (got == 0) {
      fail(name, fmt::format("was shortened while it was read: it had {} bytes and ends at {}", size, at));
    }
    at += std::size_t(got);
  }
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path, const Check& check) {
  const std::string name = path.string();
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const Descriptor file{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.fd < 0) {
    const int code = errno;
    struct stat status {};
    // A socket cannot be opened at all; the system calls that "No such device or address".
    if (code == ENXIO && ::stat(name.c_str(), &status) == 0) refuse_kind(name, status.st_mode);
    fail(name, fmt::format("cannot open: {}", text_of(code)));
  }
  const struct stat before = status_of(file.fd, name);
  if (!S_ISREG(before.st_mode)) refuse_kind(name, before.st_mode);
  if (before.st_size == 0) fail(name, "is empty, expected a weight file");
  const auto size = std::size_t(before.st_size);

  // Before memory is asked for: there may not be enough for what is no weight file.
  std::array<std::byte, start_size> start;
  const std::size_t started = std::min(size, start_size);
  read_part(file.fd, name, start.data(), 0, started, size);
  if (check) check(std::span(start).first(started));

  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fail(name, fmt::format("its {} bytes cannot be held in memory: {}", size, text_of(errno)));
  }
  // A fault for every 4 KiB takes as long as reading them. Only advice: a kernel may not have larger pages.
  if (size >= enough_for_huge_pages) ::madvise(memory, size, MADV_HUGEPAGE);
  auto* const data = static_cast<std::byte*>(memory);
  // From here on the object gives the memory back.
  std::shared_ptr<const MappedFile> made(new MappedFile(name, data, size, true));
  std::memcpy(data, start.data(), started);
  read_part(file.fd, name, data, started, size, size);

  // A writer that kept the size leaves a time; the clock of file systems steps some milliseconds, so not every one.
  const struct stat after = status_of(file.fd, name);
  if (after.st_size != before.st_size) {
    fail(name, fmt::format("changed its size from {} to {} bytes while it was read", size, after.st_size));
  }
  if (after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec) {
    fail(name, "was written to while it was read");
  }
  ::mprotect(memory, size, PROT_READ);  // a stray write then faults where it happens; nothing depends on it
  return made;
}

std::shared_ptr<const MappedFile> MappedFile::view(std::string name, std::span<const std::byte> bytes) {
  return std::shared_ptr<const MappedFile>(
      new MappedFile(std::move(name), bytes.data(), bytes.size(), false));
}

MappedFile::~MappedFile() {
  if (mapped_) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace retrace::weights
