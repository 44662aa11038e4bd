// Picture files made byte by byte, and a folder to put them in.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace {

using Bytes = std::vector<std::uint8_t>;

// A fresh folder, removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "retrace-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path put(const std::string& name, std::span<const std::uint8_t> bytes) const {
    std::ofstream file(path_ / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    return path_ / name;
  }
  std::filesystem::path put(const std::string& name, const std::string& text) const {
    return put(name, std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  }

 private:
  std::filesystem::path path_;
};

inline void put32(Bytes& out, std::uint32_t v) {
  for (const int shift : {24, 16, 8, 0}) out.push_back(std::uint8_t(v >> shift));
}

// One PNG chunk with its checksum, bit by bit (W3C PNG annex D without the table).
inline void put_chunk(Bytes& out, const std::string& type, const Bytes& data) {
  put32(out, std::uint32_t(data.size()));
  const std::size_t start = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), data.begin(), data.end());
  std::uint32_t crc = ~0u;
  for (std::size_t i = start; i < out.size(); ++i) {
    crc ^= out[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  put32(out, ~crc);
}

// A PNG whose rows are stored, not compressed. `rows` are the samples as PNG lays them out (16 bits: high
// byte first). Colour types: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA.
inline Bytes make_png(std::uint32_t width, std::uint32_t height, int depth, int colour_type,
                      const Bytes& rows) {
  Bytes out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  Bytes header;
  put32(header, width), put32(header, height);
  for (const int v : {depth, colour_type, 0, 0, 0}) header.push_back(std::uint8_t(v));
  put_chunk(out, "IHDR", header);
  Bytes raw;
  for (std::size_t y = 0; y < height && !rows.empty(); ++y) {
    raw.push_back(0);  // no filter
    raw.insert(raw.end(), rows.begin() + std::ptrdiff_t(y * rows.size() / height),
               rows.begin() + std::ptrdiff_t((y + 1) * rows.size() / height));
  }
  // zlib: one stored block (RFC 1950, 1951), so at most 65535 bytes.
  Bytes data{0x78,
             0x01,
             0x01,
             std::uint8_t(raw.size()),
             std::uint8_t(raw.size() >> 8),
             std::uint8_t(~raw.size()),
             std::uint8_t(~raw.size() >> 8)};
  data.insert(data.end(), raw.begin(), raw.end());
  std::uint32_t a = 1, b = 0;
  for (const std::uint8_t v : raw) a = (a + v) % 65521, b = (b + a) % 65521;
  put32(data, b << 16 | a);
  put_chunk(out, "IDAT", data);
  put_chunk(out, "IEND", {});
  return out;
}

// The pictures that test_image_reference.py makes too.
inline Picture pattern(int width, int height) {
  Picture p = render::blank(width, height, {});
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) p.pixel(x, y)[c] = std::uint8_t(x * 37 + y * 91 + c * 53 + x * y * (c + 3));
  return p;
}

}  // namespace retrace
