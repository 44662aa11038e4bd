#include "weights/inflate.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "kernels/error.h"

namespace retrace::weights {
namespace {

class Inflater {
 public:
  Inflater(std::span<const std::byte> packed, const std::string& where) : packed_(packed), where_(where) {
    if (::inflateInit2(&stream_, -MAX_WBITS) != Z_OK) fail("cannot be unfolded: zlib has no memory");
  }
  ~Inflater() { ::inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  [[noreturn]] void fail(const std::string& what) const { throw Error(fmt::format("{}: {}", where_, what)); }

  // Until `out` is full or the stream ends; returns the bytes made.
  std::size_t fill(std::span<std::byte> out) {
    constexpr std::size_t chunk = std::size_t(1) << 30;  // zlib counts in 32 bits
    std::size_t made = 0;
    while (made < out.size() && !ended_) {
      const std::size_t in = std::min(packed_.size() - used_, chunk),
                        room = std::min(out.size() - made, chunk);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed_.data())) + used_;
      stream_.avail_in = uInt(in);
      stream_.next_out = reinterpret_cast<Bytef*>(out.data()) + made;
      stream_.avail_out = uInt(room);
      const int result = ::inflate(&stream_, Z_NO_FLUSH);
      used_ += in - stream_.avail_in;
      made += room - stream_.avail_out;
      if (result == Z_STREAM_END) {
        ended_ = true;
      } else if (result == Z_BUF_ERROR) {
        fail("its deflated data are cut short");
      } else if (result != Z_OK) {
        fail(fmt::format("its deflated data are damaged at byte {} of {}", used_, packed_.size()));
      }
    }
    return made;
  }

  bool ended() const { return ended_; }
  std::size_t used() const { return used_; }

 private:
  std::span<const std::byte> packed_;
  const std::string& where_;
  z_stream stream_{};
  std::size_t used_ = 0;
  bool ended_ = false;
};

}  // namespace

std::size_t inflate_start(std::span<const std::byte> packed, std::span<std::byte> out,
                          const std::string& where) {
  return Inflater(packed, where).fill(out);
}

void inflate_whole(std::span<const std::byte> packed, std::span<std::byte> out, const std::string& where) {
  Inflater inflater(packed, where);
  const std::size_t made = inflater.fill(out);
  // The end may stand in bits not yet looked at; one byte of room makes zlib look, and must stay empty.
  std::byte spare{};
  if (made < out.size() || (!inflater.ended() && inflater.fill({&spare, 1}) != 0)) {
    inflater.fail(fmt::format("its deflated data hold {} bytes, {} are announced",
                              made < out.size() ? fmt::format("{}", made) : "more", out.size()));
  }
  if (inflater.used() != packed.size()) {
    inflater.fail(fmt::format("{} bytes are left after its deflated data", packed.size() - inflater.used()));
  }
}

}  // namespace retrace::weights
