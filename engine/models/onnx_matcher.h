// What onnx_match.cpp and onnx_layers.cpp share: the state of one comparison.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/models/onnx_match.h"
#include "engine/models/onnx_values.h"

namespace retrace {

// What was found for one layer: its parameters in the graph, and the values it reads.
struct OnnxFound {
  const weights::HostTensor* weight = nullptr;
  bool turned = false;  // the weight is [C, K]
  const weights::HostTensor* bias = nullptr;
  const weights::HostTensor* norm[4] = {};         // null: folded, or none
  std::vector<std::pair<int, std::string>> reads;  // layer, value
};

class OnnxMatcher {
 public:
  OnnxMatcher(const weights::OnnxGraph& onnx, const NetGraph& net) : at_(onnx), net_(net) {}

  OnnxMatch run();

 private:
  // The difference that lies furthest back from the logits is the one to tell: alternatives fail sooner.
  bool differs(int layer, int depth, const std::string& what);
  bool unexpected(int layer, int depth, const std::string& value, std::string_view expected);
  static const std::string& name_of(const LayerPlan& l) { return l.module.empty() ? l.name : l.module; }
  const LayerPlan& plan(int layer) const { return net_.layers[std::size_t(layer)]; }

  // Whether `value` is what the layer computes. Each pair is looked at once.
  bool match(int layer, const std::string& value, int depth);

  bool read(int layer, const std::string& value, int depth, OnnxFound& found);

  bool match_layer(int layer, std::string value, int depth, OnnxFound& found);

  // Steps from what the layer ends in to what is before its activation.
  bool activation(int layer, std::string& value, int depth);

  bool conv(int layer, std::string value, int depth, OnnxFound& found);

  bool convolve(int layer, std::string value, int depth, OnnxFound& found);

  bool batch_norm(int layer, const weights::OnnxNode& node, const std::string& value, int depth,
                  OnnxFound& found);

  bool parameter(int layer, const weights::HostTensor* tensor, const std::string& value,
                 const std::vector<std::int64_t>& shape, int depth);

  // Kernel, strides, pads and the like of a convolution or pool.
  bool window(int layer, const weights::OnnxNode& node, const std::string& value, int depth, bool ceil_mode);

  bool linear(int layer, std::string value, int depth, OnnxFound& found);

  // To a fixed size. The exporter makes an average pool of it, of the window that fits its picture, or leaves it out.
  bool adaptive_pool(int layer, const std::string& value, int depth, OnnxFound& found);

  // Option A: every second pixel (Slice), and zero channels before and after (Pad).
  bool shortcut(int layer, std::string value, int depth, OnnxFound& found);

  // Concats of concats are one: exporters write a dense block's both ways.
  bool concat(int layer, const std::string& value, int depth, OnnxFound& found);
  void flatten(int layer, std::vector<int>& out) const;
  void flatten(const std::string& start, std::size_t most, std::vector<std::string>& out) const;

  // One value for each layer: two copies of a node might have different weights.
  bool bind(int layer, const std::string& value);

  bool collect();
  void add(weights::HostTensor tensor, std::string name);
  void fold(const LayerPlan& l, const OnnxFound& found);
  static weights::HostTensor transposed(const weights::HostTensor& t);

  // Sides of all layers' outputs for the picture the graph was exported with; 0 where it cannot be told.
  void find_sides();
  int side_of(int layer) const { return sides_.at(std::size_t(layer + 1)); }

  OnnxValues at_;
  const NetGraph& net_;
  OnnxMatch out_;
  std::map<std::pair<int, std::string>, std::optional<OnnxFound>> seen_;
  std::map<int, const OnnxFound*> bound_;
  std::map<int, std::string> names_;
  std::vector<int> sides_;
};

}  // namespace retrace
