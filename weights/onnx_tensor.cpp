#include "weights/onnx_tensor.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <system_error>

#include "weights/checked.h"

namespace retrace::weights {
namespace {

// Fields of TensorProto.
enum Field : std::uint32_t {
  dims = 1,
  data_type = 2,
  segment = 3,
  float_data = 4,
  int32_data = 5,
  string_data = 6,
  int64_data = 7,
  name = 8,
  raw_data = 9,
  double_data = 10,
  uint64_data = 11,
  external_data = 13,
  data_location = 14,
};

struct Type {
  int number;
  std::string_view name;  // ONNX's
  std::optional<DType> dtype;
  std::uint32_t field;  // its values, where they are not raw
};

constexpr Type types[] = {
    {1, "FLOAT", DType::f32, float_data},
    {2, "UINT8", DType::u8, int32_data},
    {3, "INT8", DType::i8, int32_data},
    {4, "UINT16", DType::u16, int32_data},
    {5, "INT16", DType::i16, int32_data},
    {6, "INT32", DType::i32, int32_data},
    {7, "INT64", DType::i64, int64_data},
    {8, "STRING", std::nullopt, string_data},
    {9, "BOOL", DType::boolean, int32_data},
    {10, "FLOAT16", DType::f16, int32_data},
    {11, "DOUBLE", DType::f64, double_data},
    {12, "UINT32", DType::u32, uint64_data},
    {13, "UINT64", DType::u64, uint64_data},
    {14, "COMPLEX64", std::nullopt, float_data},
    {15, "COMPLEX128", std::nullopt, double_data},
    {16, "BFLOAT16", DType::bf16, int32_data},
    {17, "FLOAT8E4M3FN", DType::f8_e4m3, int32_data},
    {18, "FLOAT8E4M3FNUZ", std::nullopt, int32_data},
    {19, "FLOAT8E5M2", DType::f8_e5m2, int32_data},
    {20, "FLOAT8E5M2FNUZ", std::nullopt, int32_data},
    {21, "UINT4", std::nullopt, int32_data},
    {22, "INT4", std::nullopt, int32_data},
    {23, "FLOAT4E2M1", std::nullopt, int32_data},
};

std::string_view field_name(std::uint32_t field) {
  switch (field) {
    case float_data:
      return "float_data";
    case int32_data:
      return "int32_data";
    case string_data:
      return "string_data";
    case int64_data:
      return "int64_data";
    case raw_data:
      return "raw_data";
    case double_data:
      return "double_data";
    default:
      return "uint64_data";
  }
}

bool is_values(std::uint32_t field) {
  return (field >= float_data && field <= int64_data) || (field >= raw_data && field <= uint64_data);
}

// Bytes of a value of fixed size, 0 for varints.
std::size_t fixed_size(std::uint32_t field) {
  return field == float_data ? 4 : field == double_data ? 8 : 0;
}

// Calls use(value) for each value of a repeated field of numbers, packed or not.
template <class Use>
void for_each_value(ProtoReader message, std::uint32_t number, Use use) {
  const std::size_t size = fixed_size(number);
  ProtoField field;
  while (message.next(field)) {
    if (field.number != number) continue;
    if (field.wire != ProtoWire::bytes) {
      const ProtoWire single = size == 4   ? ProtoWire::fixed32
                               : size == 8 ? ProtoWire::fixed64
                                           : ProtoWire::varint;
      if (field.wire != single) {
        message.fail(fmt::format("{} is {}, expected {} or packed ones", field_name(number),
                                 proto_wire_name(field.wire), proto_wire_name(single)));
      }
      use(field.value);
      continue;
    }
    if (size > 0 && field.bytes.size() % size != 0) {
      message.fail(
          fmt::format("{} packs {} bytes, no multiple of {}", field_name(number), field.bytes.size(), size));
    }
    while (!field.bytes.empty()) {
      if (size == 0) {
        use(message.packed_varint(field.bytes));
        continue;
      }
      std::uint64_t value = 0;
      std::memcpy(&value, field.bytes.data(),
                  size);  // little-endian, as host_tensor.cpp asserts of this machine
      field.bytes = field.bytes.subspan(size);
      use(value);
    }
  }
}

// Whether int32_data may hold the number for an element of this type. Floats stand there bit by bit.
bool fits(std::int64_t value, DType type) {
  switch (type) {
    case DType::i32:
      return value >= INT32_MIN && value <= INT32_MAX;
    case DType::i16:
      return value >= INT16_MIN && value <= INT16_MAX;
    case DType::i8:
      return value >= INT8_MIN && value <= INT8_MAX;
    case DType::u32:
      return value >= 0 && value <= std::int64_t(UINT32_MAX);
    case DType::boolean:
      return value == 0 || value == 1;
    case DType::u8:
    case DType::f8_e4m3:
    case DType::f8_e5m2:
      return value >= 0 && value <= UINT8_MAX;
    case DType::u16:
    case DType::f16:
    case DType::bf16:
      return value >= 0 && value <= UINT16_MAX;
    default:
      return true;
  }
}

std::uint64_t whole_number(const ProtoReader& at, const std::string& title, std::string_view key,
                           std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    at.fail(fmt::format("{}: its external {} is {}, expected a whole number", title, key, quote(text)));
  }
  return value;
}

void read_external(const ProtoReader& message, const ProtoField& field, const std::string& title,
                   OnnxExternal& out) {
  ProtoReader entry = message.inside(field.bytes);
  std::string_view key, value;
  ProtoField part;
  while (entry.next(part)) {
    if (part.number > 2) continue;
    if (part.wire != ProtoWire::bytes)
      entry.fail(fmt::format("{}: its external data's entry is no text", title));
    (part.number == 1 ? key : value) = part.text();
  }
  if (key == "location") out.location = std::string(value);
  if (key == "offset") out.offset = whole_number(message, title, key, value);
  if (key == "length") out.length = whole_number(message, title, key, value);
}

}  // namespace

OnnxTensor OnnxTensorReader::read(ProtoReader message) {
  constexpr std::size_t most_dims = 64;
  const ProtoReader start = message;
  OnnxTensor out;
  HostTensor& tensor = out.tensor;
  std::uint64_t type_number = 0, location = 0;
  OnnxExternal external;
  std::uint32_t values = 0;  // the field that has them
  std::span<const std::byte> raw;
  bool has_external = false, in_parts = false;
  const auto add_dim = [&](std::uint64_t size) {
    if (tensor.shape.size() >= most_dims)
      message.fail(fmt::format("a tensor has more than {} dimensions", most_dims));
    tensor.shape.push_back(std::int64_t(size));
  };
  const auto title = [&] {
    return tensor.name.empty() ? std::string("a tensor") : "tensor " + quote(tensor.name);
  };
  // Its name first: every message has it.
  ProtoField field;
  while (message.next(field)) {
    if (field.number == name && field.wire == ProtoWire::bytes) tensor.name = std::string(field.text());
  }
  message = start;
  while (message.next(field)) {
    const auto expect = [&](ProtoWire wire) {
      if (field.wire != wire) {
        message.fail(fmt::format("{}: field {} is {}, expected {}", title(), field.number,
                                 proto_wire_name(field.wire), proto_wire_name(wire)));
      }
    };
    if (field.number == dims && field.wire == ProtoWire::bytes) {
      while (!field.bytes.empty()) add_dim(message.packed_varint(field.bytes));
    } else if (field.number == dims) {
      expect(ProtoWire::varint);
      add_dim(field.value);
    } else if (field.number == data_type) {
      expect(ProtoWire::varint);
      type_number = field.value;
    } else if (field.number == segment) {
      in_parts = true;
    } else if (field.number == external_data) {
      expect(ProtoWire::bytes);
      has_external = true;
      read_external(message, field, title(), external);
    } else if (field.number == data_location) {
      expect(ProtoWire::varint);
      location = field.value;
    } else if (is_values(field.number)) {
      if (values != 0 && (values != field.number || values == raw_data)) {
        message.fail(fmt::format("{}: has values in {} and again in {}", title(), field_name(values),
                                 field_name(field.number)));
      }
      values = field.number;
      if (values == raw_data) {
        expect(ProtoWire::bytes);
        raw = field.bytes;
      }
    }
  }
  const auto fail = [&](const std::string& what) { message.fail(fmt::format("{}: {}", title(), what)); };
  if (in_parts) fail("is one part of a tensor in several, which is not read");
  const Type* type = nullptr;
  for (const Type& known : types) {
    if (std::uint64_t(known.number) == type_number) type = &known;
  }
  if (type == nullptr) fail(fmt::format("has element type {}, which is not known", type_number));
  if (!type->dtype) fail(fmt::format("holds {}, which is not read", type->name));
  tensor.dtype = *type->dtype;
  const auto count = element_count(tensor.shape);
  const auto size =
      count ? checked_mul(std::uint64_t(*count), std::uint64_t(dtype_size(tensor.dtype))) : std::nullopt;
  if (!size) fail(fmt::format("shape {} is not possible", shape_text(tensor.shape)));

  if (location > 1) fail(fmt::format("its data location is {}, expected 0 or 1", location));
  if (location == 1) {
    if (values != 0) fail(fmt::format("is external, but has {} too", field_name(values)));
    if (external.location.empty()) fail("is external, but names no file");
    out.external = std::move(external);
    return out;
  }
  if (has_external) fail("names a file, but is not marked as external");
  if (values == raw_data) {
    if (raw.size() != *size) {
      fail(fmt::format("its raw_data has {} bytes, shape {} of {} needs {}", raw.size(),
                       shape_text(tensor.shape), dtype_name(tensor.dtype), *size));
    }
    tensor.data = {file_, raw.data()};
    if (raw.empty())
      tensor.data = {file_, reinterpret_cast<const std::byte*>("")};  // never read, never null either
    return out;
  }
  if (values != 0 && values != type->field) {
    fail(fmt::format("holds {}, expected in {}, but has {}", type->name, field_name(type->field),
                     field_name(values)));
  }
  read_typed_data(tensor, start, type->field, title());
  return out;
}

void OnnxTensorReader::read_typed_data(HostTensor& tensor, ProtoReader message, std::uint32_t field,
                                       const std::string& title) {
  std::uint64_t count = 0;
  for_each_value(message, field, [&](std::uint64_t) { ++count; });
  if (count != std::uint64_t(tensor.count())) {
    message.fail(fmt::format("{}: has {} values in {}, shape {} needs {}", title, count, field_name(field),
                             shape_text(tensor.shape), tensor.count()));
  }
  const std::size_t unit = dtype_size(tensor.dtype), bytes = tensor.byte_size();
  if (bytes > left_) {
    message.fail(fmt::format("{}: brings the file's tensors over the limit of {} bytes", title, budget_));
  }
  left_ -= bytes;
  const std::shared_ptr<std::byte[]> memory(new std::byte[bytes + 1]);
  std::byte* at = memory.get();
  const bool narrow = field == int32_data || (field == uint64_data && tensor.dtype == DType::u32);
  for_each_value(message, field, [&](std::uint64_t value) {
    if (narrow && !fits(std::int64_t(value), tensor.dtype)) {
      message.fail(
          fmt::format("{}: value {} does not fit {}", title, std::int64_t(value), dtype_name(tensor.dtype)));
    }
    std::memcpy(at, &value, unit);  // the lowest bytes
    at += unit;
  });
  tensor.data = {memory, memory.get()};
}

}  // namespace retrace::weights
