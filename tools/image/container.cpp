#include "tools/image/container.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "kernels/error.h"
#include "tools/image/limits.h"

namespace retrace::image {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t big16(Bytes b, std::size_t at) {
  return std::uint32_t(b[at]) << 8 | b[at + 1];
}
std::uint32_t big32(Bytes b, std::size_t at) {
  return big16(b, at) << 16 | big16(b, at + 2);
}
std::uint32_t little16(Bytes b, std::size_t at) {
  return b[at] | std::uint32_t(b[at + 1]) << 8;
}
std::uint32_t little32(Bytes b, std::size_t at) {
  return little16(b, at) | little16(b, at + 2) << 16;
}

[[noreturn]] void cut_short(const std::string& name, const char* format, std::size_t size,
                            std::string_view where) {
  throw Error(fmt::format("{}: the {} file is cut short: its {} bytes end {}", name, format, size, where));
}

// Follows a JPEG's tables, because some versions of the decoder trust them: they write past their table of
// 256 codes, and look up codes in tables that were never defined.
class JpegTables {
 public:
  explicit JpegTables(const std::string& name) : name_(name) {}

  // Tables of a class and number, 16 counts of codes by their length, and one byte a code.
  void define_huffman(Bytes b) {
    while (!b.empty()) {
      std::size_t codes = 0;
      for (std::size_t i = 1; i <= 16 && i < b.size(); ++i) codes += b[i];
      if (b.size() < 17 || codes > 256 || b.size() - 17 < codes)
        fail(fmt::format("a Huffman table of {} codes in {} bytes", codes, b.size()));
      if (b[0] >> 4 > 1 || (b[0] & 15) > 3) fail(fmt::format("Huffman table {:02X}", b[0]));
      huffman_[b[0] >> 4][b[0] & 15] = true;
      b = b.subspan(17 + codes);
    }
  }

  // Tables of a precision and number, 64 values of one or two bytes.
  void define_quantization(Bytes b) {
    while (!b.empty()) {
      const std::size_t size = b[0] >> 4 ? 129 : 65;
      if (b.size() < size || (b[0] & 15) > 3) fail(fmt::format("quantization table {:02X}", b[0]));
      quantization_[b[0] & 15] = true;
      b = b.subspan(size);
    }
  }

  // Which quantization tables the components use.
  void start_frame(Bytes b, bool progressive) {
    progressive_ = progressive;
    components_.clear();
    if (b.size() < 6 || b.size() != 6 + std::size_t(b[5]) * 3) fail("a frame header of the wrong length");
    for (std::size_t i = 6; i < b.size(); i += 3) components_.push_back({b[i], b[i + 2]});
  }

  // Which Huffman tables they use now. A first scan of the DC coefficients needs a DC table, scans of the
  // others an AC table; only a sequential scan has both.
  void start_scan(Bytes b) const {
    if (b.empty() || b.size() != 4 + std::size_t(b[0]) * 2) fail("a scan header of the wrong length");
    const std::size_t tail = b.size() - 3;
    const bool starts_at_dc = b[tail] == 0, refines = b[tail + 2] >> 4 != 0;
    for (std::size_t i = 1; i < tail; i += 2) {
      const int dc = b[i + 1] >> 4, ac = b[i + 1] & 15;
      if ((!progressive_ || (starts_at_dc && !refines)) && (dc > 3 || !huffman_[0][std::size_t(dc)]))
        fail(fmt::format("a scan uses DC table {}, which is not defined", dc));
      if ((!progressive_ || !starts_at_dc) && (ac > 3 || !huffman_[1][std::size_t(ac)]))
        fail(fmt::format("a scan uses AC table {}, which is not defined", ac));
      for (const Component& c : components_)
        if (c.id == b[i] && (c.quantization > 3 || !quantization_[c.quantization]))
          fail(fmt::format("a scan uses quantization table {}, which is not defined", c.quantization));
    }
  }

 private:
  struct Component {
    std::uint8_t id, quantization;
  };

  [[noreturn]] void fail(std::string_view what) const {
    throw Error(fmt::format("{}: the JPEG file is damaged: {}", name_, what));
  }

  const std::string& name_;
  bool progressive_ = false;
  std::array<std::array<bool, 4>, 2> huffman_{};  // [DC or AC][number]
  std::array<bool, 4> quantization_{};
  std::vector<Component> components_;
};

void check_jpeg(Bytes b, const std::string& name) {
  JpegTables tables(name);
  bool picture = false;  // a scan was seen
  std::size_t at = 2;
  for (;;) {
    // Markers may be preceded by any number of FF; anything else between segments is passed over, as libjpeg
    // does.
    while (at < b.size() && b[at] != 0xFF) ++at;
    while (at < b.size() && b[at] == 0xFF) ++at;
    if (at >= b.size()) cut_short(name, "JPEG", b.size(), "before the end-of-image marker");
    const std::uint8_t marker = b[at++];
    if (marker == 0xD9) {
      if (!picture) throw Error(fmt::format("{}: the JPEG file ends without a picture in it", name));
      return;
    }
    // 00: no marker; 01 and D0–D8 stand alone.
    if (marker == 0x00 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    if (b.size() - at < 2) cut_short(name, "JPEG", b.size(), "inside a segment");
    const std::size_t length = big16(b, at);
    if (length < 2)
      throw Error(fmt::format("{}: JPEG segment FF{:02X} at byte {} has length {}, expected at least 2", name,
                              marker, at - 2, length));
    if (length > b.size() - at) cut_short(name, "JPEG", b.size(), "inside a segment");
    const Bytes segment = b.subspan(at + 2, length - 2);
    if (marker == 0xC4) tables.define_huffman(segment);
    if (marker == 0xDB) tables.define_quantization(segment);
    if (marker >= 0xC0 && marker <= 0xC2) tables.start_frame(segment, marker == 0xC2);
    if (marker == 0xDA) tables.start_scan(segment);
    at += length;
    // What follows a scan's header is coded data: the loop above passes over it, FF00 and restart markers
    // included.
    if (marker == 0xDA) picture = true;
  }
}

// The checksum of PNG chunks, W3C PNG annex D.
std::uint32_t crc32(Bytes bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      std::uint32_t c = n;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
      t[n] = c;
    }
    return t;
  }();
  std::uint32_t c = 0xFFFFFFFFu;
  for (const std::uint8_t byte : bytes) c = table[(c ^ byte) & 0xFF] ^ c >> 8;
  return ~c;
}

void check_png(Bytes b, const std::string& name) {
  for (std::size_t at = 8;;) {
    if (b.size() - at < 12) cut_short(name, "PNG", b.size(), "before the IEND chunk");
    const std::size_t length = big32(b, at);
    const std::string_view type = text_of(b.subspan(at + 4, 4));
    if (length > b.size() - at - 12) cut_short(name, "PNG", b.size(), "inside a chunk");
    // A small first letter marks chunks that a reader may ignore: we do.
    const bool critical = type[0] >= 'A' && type[0] <= 'Z';
    if (critical && crc32(b.subspan(at + 4, 4 + length)) != big32(b, at + 8 + length))
      throw Error(fmt::format("{}: the PNG file is damaged: the checksum of chunk {} at byte {} is wrong",
                              name, type, at));
    if (at == 8) {
      if (type != "IHDR" || length != 13)
        throw Error(fmt::format(
            "{}: the PNG file is damaged: it does not start with an IHDR chunk of 13 bytes", name));
      // Here, because the decoder calls a picture that is too large "not of any known type".
      check_dimensions(big32(b, 16), big32(b, 20), name);
    }
    if (type == "IEND") return;
    at += 12 + length;
  }
}

void check_gif(Bytes b, const std::string& name) {
  const auto need = [&](std::size_t at, std::size_t count) {
    if (at > b.size() || b.size() - at < count)
      cut_short(name, "GIF", b.size(), "before the end of the first frame");
  };
  const auto colours = [](std::uint8_t flags) {
    return flags & 0x80 ? std::size_t(3) << ((flags & 7) + 1) : 0;
  };
  // Past a chain of sub-blocks: a length byte and as many bytes each, ended by a length of 0.
  const auto skip_blocks = [&](std::size_t at) {
    for (;;) {
      need(at, 1);
      const std::size_t length = b[at++];
      if (length == 0) return at;
      need(at, length);
      at += length;
    }
  };
  need(0, 13);
  std::size_t at = 13 + colours(b[10]);
  for (;;) {
    need(at, 1);
    const std::uint8_t kind = b[at++];
    if (kind == 0x21) {
      need(at, 1);
      at = skip_blocks(at + 1);
    } else if (kind == 0x2C) {
      need(at, 9);
      skip_blocks(at + 9 + colours(b[at + 8]) + 1);
      return;
    } else if (kind == 0x3B) {
      throw Error(fmt::format("{}: the GIF file ends without a picture in it", name));
    } else {
      throw Error(fmt::format("{}: the GIF file is damaged: block {:02X} at byte {}, expected 21, 2C or 3B",
                              name, kind, at - 1));
    }
  }
}

void check_bmp(Bytes b, const std::string& name) {
  if (b.size() < 26) cut_short(name, "BMP", b.size(), "inside the header");
  const std::uint64_t offset = little32(b, 10);
  const std::uint32_t header = little32(b, 14);
  std::int64_t width = 0, height = 0;
  std::uint32_t bits = 0, compression = 0;
  if (header == 12) {
    width = little16(b, 18), height = little16(b, 20), bits = little16(b, 24);
  } else {
    if (b.size() < 34) cut_short(name, "BMP", b.size(), "inside the header");
    width = std::int32_t(little32(b, 18)), height = std::int32_t(little32(b, 22));
    bits = little16(b, 28), compression = little32(b, 30);
  }
  // 0: plain rows, 3: plain rows with bit masks.
  if (width <= 0 || bits > 32 || (compression != 0 && compression != 3)) return;
  const std::uint64_t row = (std::uint64_t(width) * bits + 31) / 32 * 4;
  if (offset + row * std::uint64_t(std::llabs(height)) > b.size())
    cut_short(name, "BMP", b.size(),
              fmt::format("before its {} rows of {} bytes do", std::llabs(height), row));
}

}  // namespace

Format identify(Bytes bytes, const std::string& name) {
  const std::string_view text = text_of(bytes);
  const auto at = [&](std::size_t position, std::string_view what) {
    return text.size() >= position + what.size() && text.substr(position, what.size()) == what;
  };
  if (at(0, "\xFF\xD8\xFF")) return Format::jpeg;
  if (at(0, "\x89PNG\r\n\x1A\n")) return Format::png;
  if (at(0, "GIF87a") || at(0, "GIF89a")) return Format::gif;
  // Two letters alone would let many a text pass: the sizes of the known headers are asked for too.
  if (at(0, "BM") && bytes.size() >= 18)
    for (const std::uint32_t size : {12u, 40u, 52u, 56u, 108u, 124u})
      if (little32(bytes, 14) == size) return Format::bmp;
  if (text.size() >= 3 && text[0] == 'P' && std::string_view("2356").find(text[1]) != text.npos &&
      std::string_view(" \t\n\r\v\f#").find(text[2]) != text.npos)
    return Format::pnm;

  const char* known = nullptr;
  if (at(0, "RIFF") && at(8, "WEBP"))
    known = "WebP";
  else if (at(4, "ftypavif") || at(4, "ftypavis"))
    known = "AVIF";
  else if (at(4, "ftyphei") || at(4, "ftyphev") || at(4, "ftypmif1"))
    known = "HEIC";
  else if (at(0, std::string_view("II*\0", 4)) || at(0, std::string_view("MM\0*", 4)))
    known = "TIFF";
  else if (at(0, std::string_view("\0\0\0\x0CjP  ", 8)))
    known = "JPEG 2000";
  else if (at(0, "8BPS"))
    known = "Photoshop";
  else if (at(0, "%PDF"))
    known = "PDF";
  else if (at(0, "<svg") || at(0, "<?xml"))
    known = "SVG or XML";
  else if (at(0, "P1") || at(0, "P4") || at(0, "P7"))
    known = "PBM or PAM";
  if (known)
    throw Error(
        fmt::format("{}: {} files are not read, expected JPEG, PNG, BMP, GIF, PPM or PGM", name, known));
  throw Error(fmt::format(
      "{}: not a picture: the first bytes are of no known format (JPEG, PNG, BMP, GIF, PPM, PGM)", name));
}

void check_complete(Format format, Bytes bytes, const std::string& name) {
  switch (format) {
    case Format::jpeg:
      return check_jpeg(bytes, name);
    case Format::png:
      return check_png(bytes, name);
    case Format::gif:
      return check_gif(bytes, name);
    case Format::bmp:
      return check_bmp(bytes, name);
    case Format::pnm:
      return;
  }
}

}  // namespace retrace::image
