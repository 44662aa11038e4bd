// The graph of an ONNX file as plain data: https://onnx.ai/onnx/repo-docs/IR.html. What its nodes mean is not known here.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "weights/host_tensor.h"

namespace retrace::weights {

struct OnnxAttribute {
  // other: graphs, types, sparse tensors, lists of tensors: not read
  enum class Kind : std::uint8_t { real, integer, text, tensor, reals, integers, texts, other };
  std::string name;
  Kind kind = Kind::other;
  float real = 0;
  std::int64_t integer = 0;
  std::string text;
  HostTensor tensor;
  std::vector<float> reals;
  std::vector<std::int64_t> integers;
  std::vector<std::string> texts;
};

struct OnnxNode {
  std::string name, op;                      // "Conv"
  std::string domain;                        // empty: ONNX's own operators
  std::vector<std::string> inputs, outputs;  // names of values; empty: an optional one that is left out
  std::vector<OnnxAttribute> attributes;     // their names are unique

  const OnnxAttribute* find(std::string_view attribute) const;  // null if there is none
  // "node 12 (Conv '/conv1/Conv')" needs the number, its place in the graph.
  std::string text(std::size_t number) const;
};

struct OnnxValue {
  std::string name;
  bool has_shape = false;
  std::vector<std::int64_t> shape;  // -1: not said, or a name
};

struct OnnxGraph {
  std::int64_t opset = 0;  // of ONNX's own operators
  // Every node reads the graph's inputs, tensors and what nodes before it make; each value is made once.
  std::vector<OnnxNode> nodes;
  std::vector<OnnxValue> inputs;  // without those that have a tensor
  std::vector<OnnxValue> outputs;
  std::unordered_map<std::string, std::size_t> maker;     // of a value: index into `nodes`
  std::unordered_map<std::string, HostTensor> constants;  // initialisers, Constants, and Identities of them
};

}  // namespace retrace::weights
