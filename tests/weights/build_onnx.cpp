#include "build_onnx.h"

namespace retrace::weights::test::pb {

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += char(value | 0x80);
  return out + char(value);
}
std::string number(std::uint32_t field, std::int64_t value) {
  return varint(std::uint64_t(field) << 3) + varint(std::uint64_t(value));
}
std::string bytes(std::uint32_t field, const std::string& value) {
  return varint(std::uint64_t(field) << 3 | 2) + varint(value.size()) + value;
}
std::string fixed32(std::uint32_t field, float value) {
  return varint(std::uint64_t(field) << 3 | 5) + little(value);
}
std::string packed(std::uint32_t field, std::initializer_list<std::int64_t> values) {
  std::string out;
  for (const std::int64_t value : values) out += varint(std::uint64_t(value));
  return bytes(field, out);
}

std::string tensor(const std::string& name, std::initializer_list<std::int64_t> dims, int type,
                   const std::string& more) {
  std::string out;
  for (const std::int64_t size : dims) out += number(1, size);
  return out + number(2, type) + bytes(8, name) + more;
}
std::string floats(const std::string& name, const std::vector<float>& values) {
  return tensor(name, {std::int64_t(values.size())}, 1, bytes(9, bytes_of(values)));
}
std::string external(const std::string& name, std::int64_t count, const std::string& location,
                     const std::string& offset, const std::string& length) {
  const auto entry = [](const std::string& key, const std::string& value) {
    return value.empty() ? "" : bytes(13, bytes(1, key) + bytes(2, value));
  };
  return tensor(
      name, {count}, 1,
      entry("location", location) + entry("offset", offset) + entry("length", length) + number(14, 1));
}
std::string node(const std::string& op, const std::vector<std::string>& inputs,
                 const std::vector<std::string>& outputs, const std::string& more) {
  std::string out;
  for (const std::string& name : inputs) out += bytes(1, name);
  for (const std::string& name : outputs) out += bytes(2, name);
  return bytes(1, out + bytes(4, op) + more);
}
std::string attribute(const std::string& name, int type, const std::string& value) {
  return bytes(5, bytes(1, name) + value + number(20, type));
}
std::string value(const std::string& name, std::initializer_list<std::int64_t> shape) {
  std::string dims;
  for (const std::int64_t size : shape) dims += bytes(1, number(1, size));
  return bytes(1, name) + bytes(2, bytes(1, number(1, 1) + bytes(2, dims)));
}
std::string model(const std::string& graph, std::int64_t ir_version) {
  return number(1, ir_version) + bytes(2, "test") + bytes(7, graph) + bytes(8, number(2, 17));
}

}  // namespace retrace::weights::test::pb
