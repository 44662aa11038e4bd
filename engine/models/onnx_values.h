// Looking at the values of an ONNX graph: what makes them, numbers that are constant, attributes with ONNX's defaults.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weights/onnx_graph.h"

namespace retrace {

// A small tensor of whole numbers: shapes, axes, pads.
struct OnnxNumbers {
  std::vector<std::int64_t> shape, values;
};

class OnnxValues {
 public:
  explicit OnnxValues(const weights::OnnxGraph& graph) : graph_(graph) {}

  const weights::OnnxGraph& graph() const { return graph_; }
  // Null if no node of ONNX's own operators makes it.
  const weights::OnnxNode* maker(const std::string& value) const;
  // The node that makes the value if it is such an operator and has at least so many inputs, else null.
  const weights::OnnxNode* maker(const std::string& value, std::string_view op, std::size_t inputs) const;
  // Null if it is no tensor of the file.
  const weights::HostTensor* constant(const std::string& value) const;
  // "node 12 ('Conv' '/conv1/Conv')", "the input 'image'", "tensor 'w'".
  std::string text(const std::string& value) const;

  // What the value is before nodes that change nothing at inference: Identity, Dropout, a Cast to a floating type, a Pad by
  // nothing, a Concat of one.
  std::string behind_identities(std::string value) const;
  // The same, and before nodes that only take [N, C, H, W] to two dimensions: a matrix product behind them counts its
  // columns, so the first dimension stays N. Order is kept by all.
  std::string behind_reshapes(std::string value) const;

  // Whole numbers that are constant, or computed from such, as PyTorch's exporter computes pads. At most 64 of them.
  std::optional<OnnxNumbers> numbers(const std::string& value) const;
  // The values of the above; none for an input that is left out.
  std::optional<std::vector<std::int64_t>> input_numbers(const weights::OnnxNode& node,
                                                         std::size_t input) const;
  // A constant of one element.
  std::optional<float> real(const std::string& value) const;

  // What Pad adds, in the order begin of each dimension, end of each; none if it cannot be told, or is no zero.
  std::optional<std::vector<std::int64_t>> zero_pads(const weights::OnnxNode& pad) const;

  // Axes of Squeeze and ReduceMean, an attribute or an input as the opset has it; negative ones counted from 4 dimensions.
  std::optional<std::vector<std::int64_t>> axes(const weights::OnnxNode& node) const;

 private:
  std::optional<OnnxNumbers> computed(const weights::OnnxNode& node, int depth) const;
  std::optional<OnnxNumbers> numbers(const std::string& value, int depth) const;

  const weights::OnnxGraph& graph_;
  mutable int steps_ = 0;  // left for numbers(): nodes that read each other many times over make many ways
};

// An attribute, or the default where it is not there (or of another kind).
std::int64_t onnx_integer(const weights::OnnxNode& node, std::string_view name, std::int64_t otherwise);
float onnx_real(const weights::OnnxNode& node, std::string_view name, float otherwise);
std::string onnx_text(const weights::OnnxNode& node, std::string_view name, const std::string& otherwise);
std::vector<std::int64_t> onnx_integers(const weights::OnnxNode& node, std::string_view name,
                                        std::vector<std::int64_t> otherwise);

// What the graph says of a model's size: output channels of its first convolution, and of its last convolution or matrix
// product. 0 if there is none.
int onnx_stem_width(const weights::OnnxGraph& onnx);
int onnx_classes(const weights::OnnxGraph& onnx);

}  // namespace retrace
