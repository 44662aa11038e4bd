#include "tools/data/inflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>

#include "kernels/error.h"

namespace retrace::data {

namespace fs = std::filesystem;

// zlib's state keeps a pointer to its z_stream, which must not move.
struct ByteSource::Stream {
  z_stream z{};
  bool ended = false;

  Stream() {
    constexpr int gzip_only = 16 + MAX_WBITS;
    if (inflateInit2(&z, gzip_only) != Z_OK) throw std::bad_alloc();
  }
  ~Stream() { inflateEnd(&z); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

ByteSource::ByteSource(const fs::path& path) : name_(path.string()) {
  const auto fail = [&](const std::string& what) { throw Error(name_ + ": " + what); };
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) fail("no such file");
  if (error) fail("cannot be read: " + error.message());
  if (!fs::is_regular_file(status)) fail("not a regular file");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail("cannot be read: " + std::generic_category().message(errno));
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail("cannot be read: " + error.message());
  constexpr std::uintmax_t most = std::uintmax_t(1) << 30;
  if (size > most) fail(fmt::format("{} bytes, expected at most {}", size, most));
  bytes_.resize(size);
  if (std::fread(bytes_.data(), 1, bytes_.size(), file.get()) != bytes_.size())
    fail("cannot be read: it became shorter, or " + std::generic_category().message(errno));

  if (bytes_.size() >= 2 && bytes_[0] == 0x1F && bytes_[1] == 0x8B) {
    stream_ = std::make_unique<Stream>();
    stream_->z.next_in = bytes_.data();
    stream_->z.avail_in = uInt(bytes_.size());
  }
}

ByteSource::~ByteSource() = default;

std::uint64_t ByteSource::most_bytes() const {
  constexpr std::uint64_t deflate_best = 1032;  // 258 bytes from two bits
  return std::uint64_t(bytes_.size()) * (stream_ ? deflate_best : 1);
}

void ByteSource::read(std::span<std::uint8_t> out, const std::string& what) {
  const auto short_of = [&](std::size_t found) {
    throw Error(fmt::format("{}: the file ends {} bytes into {}, expected {} bytes of it", name_, found, what,
                            out.size()));
  };
  if (!stream_) {
    const std::size_t left = bytes_.size() - position_;
    if (left < out.size()) short_of(left);
    std::copy_n(bytes_.begin() + std::ptrdiff_t(position_), out.size(), out.begin());
    position_ += out.size();
    return;
  }
  z_stream& z = stream_->z;
  z.next_out = out.data();
  z.avail_out = uInt(out.size());
  while (z.avail_out > 0) {
    if (stream_->ended) short_of(out.size() - z.avail_out);
    const int code = inflate(&z, Z_NO_FLUSH);
    if (code == Z_STREAM_END)
      stream_->ended = true;
    else if (code == Z_BUF_ERROR)  // no input left
      short_of(out.size() - z.avail_out);
    else if (code == Z_MEM_ERROR)
      throw std::bad_alloc();
    else if (code != Z_OK)
      throw Error(fmt::format("{}: damaged gzip data: {}", name_, z.msg ? z.msg : "no reason given"));
  }
}

void ByteSource::finish() {
  std::size_t left = bytes_.size() - position_;
  if (stream_) {
    z_stream& z = stream_->z;
    // One byte of room: had the stream more to give, it would fill it.
    std::uint8_t extra = 0;
    z.next_out = &extra;
    z.avail_out = 1;
    while (!stream_->ended && z.avail_out > 0) {
      const int code = inflate(&z, Z_NO_FLUSH);
      if (code == Z_STREAM_END)
        stream_->ended = true;
      else if (code == Z_BUF_ERROR)
        throw Error(name_ + ": the gzip data is cut short: its checksum is missing");
      else if (code != Z_OK)
        throw Error(fmt::format("{}: damaged gzip data: {}", name_, z.msg ? z.msg : "no reason given"));
    }
    if (z.avail_out == 0) throw Error(name_ + ": more data than its header announces");
    left = z.avail_in;
  }
  if (left > 0) throw Error(fmt::format("{}: {} bytes more than its header announces", name_, left));
}

}  // namespace retrace::data
