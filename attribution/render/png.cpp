#include "attribution/render/png.h"

#include <fmt/format.h>

#include <algorithm>

#include "attribution/render/stb_write.h"
#include "kernels/error.h"
#include "weights/atomic_file.h"

namespace retrace::render {

std::vector<std::byte> encode_png(const Picture& picture) {
  check_picture(picture);
  // The encoder counts bytes, filtered rows and its worst case in int.
  if (picture.rgb.size() > std::size_t(1) << 30)
    throw Error(
        fmt::format("a picture of {} x {} pixels is too large for a PNG file, expected at most 2^30 bytes "
                    "of colour",
                    picture.width, picture.height));
  std::vector<std::byte> bytes;
  const auto sink = [](void* context, void* data, int size) {
    const auto* const first = static_cast<const std::byte*>(data);
    static_cast<std::vector<std::byte>*>(context)->assign(first, first + size);
  };
  if (!stb_encode_png(sink, &bytes, picture.width, picture.height, picture.rgb.data()) || bytes.empty())
    throw OutOfMemory(
        fmt::format("no memory to encode a picture of {} x {} pixels", picture.width, picture.height));
  return bytes;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  weights::write_atomically(path, encode_png(picture), weights::Durability::cached);
}

}  // namespace retrace::render
