// ONNX files made field by field, right and wrong ones.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "build_files.h"

namespace retrace::weights::test::pb {

std::string varint(std::uint64_t value);
std::string number(std::uint32_t field, std::int64_t value);       // a varint field
std::string bytes(std::uint32_t field, const std::string& value);  // text, a message, packed numbers
std::string fixed32(std::uint32_t field, float value);
std::string packed(std::uint32_t field, std::initializer_list<std::int64_t> values);

// TensorProto with these dims, type, name and further fields.
std::string tensor(const std::string& name, std::initializer_list<std::int64_t> dims, int type,
                   const std::string& more);
std::string floats(const std::string& name, const std::vector<float>& values);  // raw, one dimension
// A tensor whose bytes lie elsewhere.
std::string external(const std::string& name, std::int64_t count, const std::string& location,
                     const std::string& offset = "", const std::string& length = "");
std::string node(const std::string& op, const std::vector<std::string>& inputs,
                 const std::vector<std::string>& outputs, const std::string& more = "");
std::string attribute(const std::string& name, int type, const std::string& value);  // as in node's `more`
std::string value(const std::string& name, std::initializer_list<std::int64_t> shape = {});
// ModelProto of a graph's fields.
std::string model(const std::string& graph, std::int64_t ir_version = 8);
// Graph fields.
inline std::string in_graph(const std::string& tensor) {
  return bytes(5, tensor);
}

}  // namespace retrace::weights::test::pb
