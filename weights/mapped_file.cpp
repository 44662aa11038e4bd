#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/error.h"

namespace retrace::weights {
namespace {

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

const char* file_kind(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a regular file";
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const std::string name = path.string();
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const Descriptor file{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) throw Error(fmt::format("{}: cannot open: {}", name, std::strerror(errno)));
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) {
    throw Error(fmt::format("{}: cannot examine: {}", name, std::strerror(errno)));
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(fmt::format("{}: is {}, expected a regular weight file", name, file_kind(status.st_mode)));
  }
  if (status.st_size == 0) throw Error(fmt::format("{}: is empty, expected a weight file", name));
  const auto size = std::size_t(status.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) throw Error(fmt::format("{}: cannot map: {}", name, std::strerror(errno)));
  return std::shared_ptr<const MappedFile>(
      new MappedFile(name, static_cast<const std::byte*>(data), size, true));
}

std::shared_ptr<const MappedFile> MappedFile::view(std::string name, std::span<const std::byte> bytes) {
  return std::shared_ptr<const MappedFile>(
      new MappedFile(std::move(name), bytes.data(), bytes.size(), false));
}

MappedFile::~MappedFile() {
  if (mapped_) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace retrace::weights
