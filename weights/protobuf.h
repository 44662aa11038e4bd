// Protocol Buffers' wire format, read field by field: https://protobuf.dev/programming-guides/encoding. Knows no message
// types; whoever reads says what a field means. No recursion, no memory of its own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace retrace::weights {

enum class ProtoWire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };
std::string_view proto_wire_name(ProtoWire wire);  // "a varint", "64 bits", "bytes", "32 bits"

struct ProtoField {
  std::uint32_t number = 0;
  ProtoWire wire = ProtoWire::varint;
  std::uint64_t value = 0;           // varint, fixed64, fixed32
  std::span<const std::byte> bytes;  // bytes: a string, a message, packed numbers
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};

// The fields of one message in their order. Both must outlive the reader: `message`, which lies in `whole`, from whose
// beginning the positions in messages count, and `where`, with which every message begins.
class ProtoReader {
 public:
  ProtoReader(std::span<const std::byte> message, std::span<const std::byte> whole, const std::string& where)
      : message_(message), whole_(whole), where_(&where) {}

  // False at the end. Throws Error for a field that does not end within the message, a varint over 64 bits, a group, a
  // wire type or a field number that does not exist.
  bool next(ProtoField& field);

  // The same for texts, messages and varints alone, of a message of which only the beginning is there: a field that
  // goes on behind it comes with what there is, one whose number or length does ends the message.
  bool next_start(ProtoField& field);

  // A number of packed ones: reads on from `bytes`, which is shortened. `bytes` must not be empty.
  std::uint64_t packed_varint(std::span<const std::byte>& bytes) const;

  // "WHERE: byte N: WHAT", N the beginning of the field read last.
  [[noreturn]] void fail(const std::string& what) const;

  // A message in a field of this one.
  ProtoReader inside(std::span<const std::byte> bytes) const { return {bytes, whole_, *where_}; }

 private:
  int read_tag(ProtoField& field, std::uint64_t tag) const;
  std::uint64_t varint(std::span<const std::byte>& bytes) const;
  std::optional<std::uint64_t> varint_if_whole(std::span<const std::byte>& bytes) const;
  std::span<const std::byte> take(std::uint64_t size);

  std::span<const std::byte> message_;  // what is left of it
  std::span<const std::byte> whole_;
  const std::string* where_;
  std::size_t field_at_ = 0;
};

}  // namespace retrace::weights
