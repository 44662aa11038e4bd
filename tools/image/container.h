// What kind of picture file some bytes are, and whether they are all there.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace retrace::image {

enum class Format { jpeg, png, gif, bmp, pnm };

// The format by its first bytes. Throws Error otherwise, naming the format where it is a well-known one that
// we do not read. `name` begins the message.
Format identify(std::span<const std::uint8_t> bytes, const std::string& name);

// Follows the format's own structure (segments, chunks, blocks: not the compressed data) up to where the
// picture ends. Throws Error where the file ends before that, a PNG chunk's checksum is wrong or its size
// beyond our limits. Decoders are lenient and would show grey or black where data is missing. PNM files are
// checked by their own reader.
//   JPEG: ITU-T T.81, annex B; that every table a scan uses is defined and well-formed too. PNG: W3C PNG,
//   sections 5 and 11. GIF: GIF89a, sections 17–26 (up to the end of the first frame). BMP: uncompressed ones
//   by their size; compressed ones are left to the decoder, which refuses them.
void check_complete(Format format, std::span<const std::uint8_t> bytes, const std::string& name);

}  // namespace retrace::image
