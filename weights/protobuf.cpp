#include "weights/protobuf.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace retrace::weights {

std::string_view proto_wire_name(ProtoWire wire) {
  switch (wire) {
    case ProtoWire::varint:
      return "a varint";
    case ProtoWire::fixed64:
      return "64 bits";
    case ProtoWire::bytes:
      return "bytes";
    case ProtoWire::fixed32:
      return "32 bits";
  }
  return "?";
}

void ProtoReader::fail(const std::string& what) const {
  throw Error(fmt::format("{}: byte {}: {}", *where_, field_at_, what));
}

// Sets the field's number and gives its wire type, which may be none that exists.
int ProtoReader::read_tag(ProtoField& field, std::uint64_t tag) const {
  // Numbers go up to 2^29 - 1; the lowest three bits are the wire type.
  if (tag >> 3 == 0 || tag >> 32 != 0) fail(fmt::format("field number {} does not exist", tag >> 3));
  field.number = std::uint32_t(tag >> 3);
  field.value = 0;
  field.bytes = {};
  return int(tag & 7);
}

bool ProtoReader::next(ProtoField& field) {
  if (message_.empty()) return false;
  field_at_ = std::size_t(message_.data() - whole_.data());
  const int wire = read_tag(field, varint(message_));
  const auto little_endian = [&](std::size_t size) {
    const auto bytes = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    return value;
  };
  switch (wire) {
    case 0:
      field.wire = ProtoWire::varint;
      field.value = varint(message_);
      return true;
    case 1:
      field.wire = ProtoWire::fixed64;
      field.value = little_endian(8);
      return true;
    case 2:
      field.wire = ProtoWire::bytes;
      field.bytes = take(varint(message_));
      return true;
    case 5:
      field.wire = ProtoWire::fixed32;
      field.value = little_endian(4);
      return true;
    case 3:
    case 4:
      fail(fmt::format("field {} is a group, which is not read", field.number));
    default:
      fail(fmt::format("field {} has wire type {}, which does not exist", field.number, wire));
  }
}

bool ProtoReader::next_start(ProtoField& field) {
  field_at_ = std::size_t(message_.data() - whole_.data());
  const auto tag = varint_if_whole(message_);
  if (!tag) return false;
  const int wire = read_tag(field, *tag);
  if (wire != 0 && wire != 2) fail(fmt::format("field {} has wire type {}", field.number, wire));
  const auto value = varint_if_whole(message_);
  if (!value) return false;
  field.wire = ProtoWire(wire);
  if (field.wire == ProtoWire::varint) {
    field.value = *value;
  } else {
    field.bytes = take(std::min<std::uint64_t>(*value, message_.size()));
  }
  return true;
}

std::uint64_t ProtoReader::packed_varint(std::span<const std::byte>& bytes) const {
  return varint(bytes);
}

std::uint64_t ProtoReader::varint(std::span<const std::byte>& bytes) const {
  const auto value = varint_if_whole(bytes);
  if (!value) fail("a varint has no end; the file is cut short or damaged");
  return *value;
}

std::optional<std::uint64_t> ProtoReader::varint_if_whole(std::span<const std::byte>& bytes) const {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) return std::nullopt;
    const auto byte = std::to_integer<std::uint64_t>(bytes[0]);
    bytes = bytes.subspan(1);
    if (shift == 63 && byte > 1) break;  // only one bit is left
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail("a varint is longer than 64 bits");
}

std::span<const std::byte> ProtoReader::take(std::uint64_t size) {
  if (size > message_.size()) {
    fail(fmt::format("needs {} bytes, but {} are left in its message; the file is cut short or damaged", size,
                     message_.size()));
  }
  const auto bytes = message_.first(std::size_t(size));
  message_ = message_.subspan(std::size_t(size));
  return bytes;
}

}  // namespace retrace::weights
