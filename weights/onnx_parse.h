// ModelProto, GraphProto, NodeProto, AttributeProto and ValueInfoProto as plain data; see
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Fields that are not needed are skipped.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "weights/onnx_graph.h"
#include "weights/onnx_tensor.h"
#include "weights/protobuf.h"

namespace retrace::weights {

// The outermost message; only its own fields are looked at.
struct OnnxModel {
  std::uint64_t ir_version = 0;
  std::string producer, producer_version;
  std::map<std::string, std::int64_t> opsets;  // by domain; "" is ONNX's own
  std::vector<std::pair<std::string, std::string>> metadata;
  std::optional<ProtoReader> graph;
  std::size_t functions = 0;
};
OnnxModel parse_onnx_model(ProtoReader message);

// The graph's parts in the file's order, not yet compared with each other.
struct OnnxGraphParts {
  std::vector<OnnxNode> nodes;
  std::vector<OnnxTensor> initializers;
  std::vector<OnnxValue> inputs, outputs;
};
// Throws Error for more than 100 000 nodes or initialisers, 250 000 attributes, a million names, 4 million numbers in
// attributes, and for sparse initialisers.
OnnxGraphParts parse_onnx_graph(ProtoReader message, OnnxTensorReader& tensors);

}  // namespace retrace::weights
