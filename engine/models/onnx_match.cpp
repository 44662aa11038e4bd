#include "engine/models/onnx_match.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

#include "engine/models/onnx_values.h"
#include "weights/checked.h"
#include "weights/fold_batch_norm.h"

namespace retrace {

using weights::HostTensor;
using weights::OnnxNode;
using Numbers = std::vector<std::int64_t>;

namespace {

constexpr const char* norm_parts[] = {"weight", "bias", "running_mean", "running_var"};
constexpr float batch_norm_epsilon = 1e-5f;  // torch.nn.BatchNorm2d's, as models here have it

// What was found for one layer: its parameters in the graph, and the values it reads.
struct Found {
  const HostTensor* weight = nullptr;
  bool turned = false;  // the weight is [C, K]
  const HostTensor* bias = nullptr;
  const HostTensor* norm[4] = {};                  // null: folded, or none
  std::vector<std::pair<int, std::string>> reads;  // layer, value
};

class Matcher {
 public:
  Matcher(const weights::OnnxGraph& onnx, const NetGraph& net) : at_(onnx), net_(net) {}

  OnnxMatch run() {
    const weights::OnnxGraph& onnx = at_.graph();
    if (onnx.inputs.size() != 1 || onnx.outputs.size() != 1) {
      out_.error = fmt::format("the graph has {} inputs and {} outputs, expected one of each",
                               onnx.inputs.size(), onnx.outputs.size());
      return std::move(out_);
    }
    std::string logits = at_.behind_identities(onnx.outputs[0].name);
    const OnnxNode* node = at_.maker(logits, "Softmax", 1);
    if (!node) node = at_.maker(logits, "LogSoftmax", 1);
    if (node) {
      out_.notes.push_back(fmt::format("the {} at the graph's end is left out", node->op));
      logits = at_.behind_identities(node->inputs[0]);
    }
    find_sides();
    const int last = int(net_.layers.size()) - 1;
    out_.fits = match(last, logits, 0) && bind(last, logits) && collect();
    if (out_.fits) out_.error.clear();
    return std::move(out_);
  }

 private:
  // The difference that lies furthest back from the logits is the one to tell: alternatives fail sooner.
  bool differs(int layer, int depth, const std::string& what) {
    if (out_.error.empty() || std::size_t(depth) > out_.reached) {
      out_.reached = std::size_t(depth);
      out_.error = layer < 0 ? what : fmt::format("layer {}: {}", weights::quote(name_of(plan(layer))), what);
    }
    return false;
  }
  bool unexpected(int layer, int depth, const std::string& value, std::string_view expected) {
    return differs(layer, depth, fmt::format("{}, expected {}", at_.text(value), expected));
  }
  static const std::string& name_of(const LayerPlan& l) { return l.module.empty() ? l.name : l.module; }
  const LayerPlan& plan(int layer) const { return net_.layers[std::size_t(layer)]; }

  // Whether `value` is what the layer computes. Each pair is looked at once.
  bool match(int layer, const std::string& value, int depth) {
    if (layer == network_input) {
      const std::string source = at_.behind_identities(value);
      const weights::OnnxValue& input = at_.graph().inputs[0];
      if (source != input.name) return unexpected(layer, depth, source, "the picture itself");
      if (input.has_shape && (input.shape.size() != 4 || (input.shape[1] != 3 && input.shape[1] != -1))) {
        return differs(layer, depth,
                       fmt::format("the input {} is {}, expected [N, 3, H, W]", weights::quote(input.name),
                                   weights::shape_text(input.shape)));
      }
      return true;
    }
    const auto key = std::pair(layer, value);
    if (const auto known = seen_.find(key); known != seen_.end()) return known->second.has_value();
    Found found;
    const bool fits = match_layer(layer, value, depth, found);
    seen_.emplace(key, fits ? std::optional(std::move(found)) : std::nullopt);
    return fits;
  }

  bool read(int layer, const std::string& value, int depth, Found& found) {
    found.reads.emplace_back(layer, value);
    return match(layer, value, depth + 1);
  }

  bool match_layer(int layer, std::string value, int depth, Found& found) {
    const LayerPlan& l = plan(layer);
    value = at_.behind_identities(value);
    const auto refuse = [&](std::string_view expected) { return unexpected(layer, depth, value, expected); };
    switch (l.kind) {
      case LayerKind::conv:
        return conv(layer, value, depth, found);
      case LayerKind::linear:
        return linear(layer, value, depth, found);
      case LayerKind::norm: {
        if (!activation(layer, value, depth)) return false;
        const OnnxNode* const node = at_.maker(value, "BatchNormalization", 5);
        if (!node) return refuse("BatchNormalization");
        return batch_norm(layer, *node, value, depth, found) && read(l.x[0], node->inputs[0], depth, found);
      }
      case LayerKind::relu:
        return activation(layer, value, depth) && read(l.x[0], value, depth, found);
      case LayerKind::max_pool: {
        const OnnxNode* const node = at_.maker(value, "MaxPool", 1);
        if (!node) return refuse("MaxPool");
        return window(layer, *node, value, depth, l.ceil_mode) && read(l.x[0], node->inputs[0], depth, found);
      }
      case LayerKind::avg_pool: {
        const OnnxNode* const node = at_.maker(value, "AveragePool", 1);
        if (!node) return refuse("AveragePool");
        return window(layer, *node, value, depth, false) && read(l.x[0], node->inputs[0], depth, found);
      }
      case LayerKind::global_avg_pool: {
        value = at_.behind_reshapes(value);
        if (const OnnxNode* const node = at_.maker(value, "GlobalAveragePool", 1)) {
          return read(l.x[0], node->inputs[0], depth, found);
        }
        const OnnxNode* const node = at_.maker(value, "ReduceMean", 1);
        if (!node || at_.axes(*node) != Numbers{2, 3})
          return refuse("GlobalAveragePool, or ReduceMean of axes 2 and 3");
        return read(l.x[0], node->inputs[0], depth, found);
      }
      case LayerKind::adaptive_avg_pool:
        return adaptive_pool(layer, value, depth, found);
      case LayerKind::shortcut:
        return shortcut(layer, value, depth, found);
      case LayerKind::concat:
        return concat(layer, value, depth, found);
    }
    return false;
  }

  // Steps from what the layer ends in to what is before its activation.
  bool activation(int layer, std::string& value, int depth) {
    const Activation wanted = plan(layer).activation;
    if (wanted == Activation::none) return true;
    const OnnxNode* const node = at_.maker(value, wanted == Activation::relu ? "Relu" : "Clip", 1);
    if (!node)
      return unexpected(layer, depth, value, wanted == Activation::relu ? "Relu" : "Clip from 0 to 6");
    if (wanted == Activation::relu6) {
      const auto bound = [&](std::size_t input, const char* name) -> std::optional<float> {
        if (node->inputs.size() > input && !node->inputs[input].empty()) return at_.real(node->inputs[input]);
        return node->find(name) ? std::optional(onnx_real(*node, name, 0)) : std::nullopt;
      };
      if (bound(1, "min") != 0.f || bound(2, "max") != 6.f) {
        return differs(layer, depth, fmt::format("{} has other bounds than 0 and 6", at_.text(value)));
      }
    }
    value = at_.behind_identities(node->inputs[0]);
    return true;
  }

  bool conv(int layer, std::string value, int depth, Found& found) {
    const LayerPlan& l = plan(layer);
    if (!activation(layer, value, depth)) return false;
    if (l.residual == no_layer) return convolve(layer, value, depth, found);
    const OnnxNode* const sum = at_.maker(value, "Add", 2);
    if (!sum) return unexpected(layer, depth, value, "Add of a residual");
    for (const std::size_t side : {0, 1}) {
      found = {};
      if (convolve(layer, at_.behind_identities(sum->inputs[side]), depth, found) &&
          read(l.residual, sum->inputs[1 - side], depth, found)) {
        return true;
      }
    }
    return false;
  }

  bool convolve(int layer, std::string value, int depth, Found& found) {
    const LayerPlan& l = plan(layer);
    const OnnxNode* node = l.norm.empty() ? nullptr : at_.maker(value, "BatchNormalization", 5);
    const bool normed = node != nullptr;
    if (normed) {
      if (!batch_norm(layer, *node, value, depth, found)) return false;
      value = at_.behind_identities(node->inputs[0]);
    }
    node = at_.maker(value, "Conv", 2);
    if (!node) return unexpected(layer, depth, value, "Conv");
    if (!window(layer, *node, value, depth, false)) return false;
    if (onnx_integer(*node, "group", 1) != l.groups) {
      return differs(layer, depth,
                     fmt::format("{}: group {}, expected {}", at_.text(value),
                                 onnx_integer(*node, "group", 1), l.groups));
    }
    found.weight = at_.constant(node->inputs[1]);
    if (!parameter(layer, found.weight, node->inputs[1], {l.out, l.in / l.groups, l.kernel, l.kernel}, depth))
      return false;
    const bool has_bias = node->inputs.size() > 2 && !node->inputs[2].empty();
    const bool wants_bias = l.bias || (!l.norm.empty() && !normed);
    if (has_bias != wants_bias) {
      return differs(
          layer, depth,
          fmt::format("{} {}", at_.text(value),
                      has_bias         ? "has a bias, expected none"
                      : l.norm.empty() ? "has no bias"
                                       : "has no bias, expected one or a BatchNormalization behind it"));
    }
    if (has_bias) {
      found.bias = at_.constant(node->inputs[2]);
      if (!parameter(layer, found.bias, node->inputs[2], {l.out}, depth)) return false;
    }
    return read(l.x[0], node->inputs[0], depth, found);
  }

  bool batch_norm(int layer, const OnnxNode& node, const std::string& value, int depth, Found& found) {
    const float epsilon = onnx_real(node, "epsilon", 1e-5f);
    if (epsilon != batch_norm_epsilon) {
      return differs(
          layer, depth,
          fmt::format("{}: epsilon {}, expected {}", at_.text(value), epsilon, batch_norm_epsilon));
    }
    for (std::size_t i = 0; i < 4; ++i) {
      found.norm[i] = at_.constant(node.inputs[i + 1]);
      if (!parameter(layer, found.norm[i], node.inputs[i + 1], {plan(layer).out}, depth)) return false;
    }
    return true;
  }

  bool parameter(int layer, const HostTensor* tensor, const std::string& value, const Numbers& shape,
                 int depth) {
    if (tensor == nullptr)
      return differs(layer, depth, fmt::format("{} is no tensor of the file", at_.text(value)));
    if (tensor->shape == shape) return true;
    return differs(layer, depth,
                   fmt::format("{} is {}, expected {}", at_.text(value), weights::shape_text(tensor->shape),
                               weights::shape_text(shape)));
  }

  // Kernel, strides, pads and the like of a convolution or pool.
  bool window(int layer, const OnnxNode& node, const std::string& value, int depth, bool ceil_mode) {
    const LayerPlan& l = plan(layer);
    const auto same = [&](const char* name, const Numbers& found, const Numbers& expected) {
      if (found == expected) return true;
      return differs(layer, depth,
                     fmt::format("{}: {} {}, expected {}", at_.text(value), name, weights::shape_text(found),
                                 weights::shape_text(expected)));
    };
    const std::string padding = onnx_text(node, "auto_pad", "NOTSET");
    if (padding != "NOTSET" && !(padding == "VALID" && l.pad == 0)) {
      return differs(
          layer, depth,
          fmt::format("{}: auto_pad {}, expected NOTSET", at_.text(value), weights::quote(padding)));
    }
    const bool ceil = onnx_integer(node, "ceil_mode", 0) != 0;
    if (ceil != ceil_mode) {
      return differs(
          layer, depth,
          fmt::format("{}: ceil_mode {}, expected {}", at_.text(value), int(ceil), int(ceil_mode)));
    }
    const Numbers kernel(2, l.kernel);
    // A convolution may leave it to the weight's shape.
    return same("kernel_shape", onnx_integers(node, "kernel_shape", node.op == "Conv" ? kernel : Numbers{}),
                kernel) &&
           same("strides", onnx_integers(node, "strides", {1, 1}), Numbers(2, l.stride)) &&
           same("pads", onnx_integers(node, "pads", {0, 0, 0, 0}), Numbers(4, l.pad)) &&
           same("dilations", onnx_integers(node, "dilations", {1, 1}), {1, 1});
  }

  bool linear(int layer, std::string value, int depth, Found& found) {
    const LayerPlan& l = plan(layer);
    if (!activation(layer, value, depth)) return false;
    const std::int64_t in = std::int64_t(l.in) * std::max(1, l.size * l.size);
    std::string x, weight, bias;
    if (const OnnxNode* const node = at_.maker(value, "Gemm", 3)) {
      if (onnx_real(*node, "alpha", 1) != 1 || onnx_real(*node, "beta", 1) != 1 ||
          onnx_integer(*node, "transA", 0) != 0) {
        return differs(layer, depth,
                       fmt::format("{}: alpha {}, beta {}, transA {}, expected 1, 1 and 0", at_.text(value),
                                   onnx_real(*node, "alpha", 1), onnx_real(*node, "beta", 1),
                                   onnx_integer(*node, "transA", 0)));
      }
      x = node->inputs[0];
      weight = node->inputs[1];
      bias = node->inputs[2];
      found.turned = onnx_integer(*node, "transB", 0) == 0;
    } else if (const OnnxNode* const sum = at_.maker(value, "Add", 2)) {
      const std::size_t side = at_.constant(sum->inputs[0]) ? 1 : 0;
      const OnnxNode* const product = at_.maker(at_.behind_identities(sum->inputs[side]), "MatMul", 2);
      if (!product) return unexpected(layer, depth, sum->inputs[side], "MatMul");
      x = product->inputs[0];
      weight = product->inputs[1];
      bias = sum->inputs[1 - side];
      found.turned = true;
    } else {
      return unexpected(layer, depth, value, "Gemm, or Add of a MatMul and a bias");
    }
    if (const OnnxNode* const turn = at_.maker(weight, "Transpose", 1);
        turn && onnx_integers(*turn, "perm", {1, 0}) == Numbers{1, 0}) {
      weight = turn->inputs[0];
      found.turned = !found.turned;
    }
    found.weight = at_.constant(weight);
    found.bias = at_.constant(bias);
    const Numbers shape = found.turned ? Numbers{in, l.out} : Numbers{l.out, in};
    return parameter(layer, found.weight, weight, shape, depth) &&
           parameter(layer, found.bias, bias, {l.out}, depth) &&
           read(l.x[0], at_.behind_reshapes(x), depth, found);
  }

  // To a fixed size. The exporter makes an average pool of it, of the window that fits its picture, or leaves it out.
  bool adaptive_pool(int layer, const std::string& value, int depth, Found& found) {
    const LayerPlan& l = plan(layer);
    const int side = side_of(l.x[0]);
    const OnnxNode* const node = at_.maker(value, "AveragePool", 1);
    if (!node) {
      if (side != l.size) return unexpected(layer, depth, value, "AveragePool");
      return read(l.x[0], value, depth, found);
    }
    const Numbers kernel = onnx_integers(*node, "kernel_shape", {});
    const bool even = side == 0 || (side % l.size == 0 && kernel == Numbers(2, side / l.size));
    if (!even || kernel.size() != 2 || onnx_integers(*node, "strides", {1, 1}) != kernel ||
        onnx_integers(*node, "pads", {0, 0, 0, 0}) != Numbers(4, 0) ||
        onnx_integer(*node, "ceil_mode", 0) != 0) {
      return differs(layer, depth,
                     fmt::format("{}: kernel {} and strides {} do not make {} x {} of {} x {}",
                                 at_.text(value), weights::shape_text(kernel),
                                 weights::shape_text(onnx_integers(*node, "strides", {1, 1})), l.size, l.size,
                                 side, side));
    }
    return read(l.x[0], node->inputs[0], depth, found);
  }

  // Option A: every second pixel (Slice), and zero channels before and after (Pad).
  bool shortcut(int layer, std::string value, int depth, Found& found) {
    const LayerPlan& l = plan(layer);
    const OnnxNode* node = at_.maker(value, "Pad", 1);
    if (!node) return unexpected(layer, depth, value, "Pad of channels");
    const std::int64_t before = (l.out - l.in) / 2, after = l.out - l.in - before;
    const Numbers expected{0, before, 0, 0, 0, after, 0, 0};
    if (const auto pads = at_.zero_pads(*node); pads != expected) {
      return differs(layer, depth,
                     fmt::format("{}: pads {}, expected {} with zeros", at_.text(value),
                                 pads ? weights::shape_text(*pads) : "that cannot be told",
                                 weights::shape_text(expected)));
    }
    value = at_.behind_identities(node->inputs[0]);
    std::int64_t steps[4] = {1, 1, 1, 1};
    constexpr int most_slices = 8;
    for (int n = 0; n < most_slices && (node = at_.maker(value, "Slice", 1)); ++n) {
      const bool inputs = node->inputs.size() > 1;  // since opset 10
      const auto list = [&](std::size_t input, const char* name) {
        return inputs ? at_.input_numbers(*node, input) : std::optional(onnx_integers(*node, name, {}));
      };
      const auto starts = list(1, "starts"), ends = list(2, "ends");
      auto axes = list(3, "axes"), step = list(4, "steps");
      if (starts && !step) step = Numbers(starts->size(), 1);
      bool known = starts && ends && axes && starts->size() == axes->size() && ends->size() == axes->size() &&
                   step->size() == axes->size();
      for (std::size_t i = 0; known && i < axes->size(); ++i) {
        const std::int64_t axis = (*axes)[i] + ((*axes)[i] < 0 ? 4 : 0);
        // All of the axis: no picture is so large.
        known = axis >= 0 && axis < 4 && (*starts)[i] == 0 && (*ends)[i] >= 1 << 20 && (*step)[i] >= 1 &&
                (*step)[i] < 1000 && steps[axis] < 1000;
        if (known) steps[axis] *= (*step)[i];
      }
      if (!known)
        return differs(layer, depth, fmt::format("{} does not take every so manieth pixel", at_.text(value)));
      value = at_.behind_identities(node->inputs[0]);
    }
    if (steps[0] != 1 || steps[1] != 1 || steps[2] != l.stride || steps[3] != l.stride) {
      return differs(
          layer, depth,
          fmt::format("steps {} of its Slices, expected [1, 1, {}, {}]",
                      weights::shape_text(std::vector<std::int64_t>(steps, steps + 4)), l.stride, l.stride));
    }
    return read(l.x[0], value, depth, found);
  }

  // Concats of concats are one: exporters write a dense block's both ways.
  bool concat(int layer, const std::string& value, int depth, Found& found) {
    if (!at_.maker(value, "Concat", 1)) return unexpected(layer, depth, value, "Concat");
    std::vector<int> layers;
    flatten(layer, layers);
    std::vector<std::string> values;
    flatten(value, layers.size(), values);
    if (values.size() != layers.size()) {
      return differs(layer, depth,
                     fmt::format("{} puts together {}{} values, expected {}", at_.text(value),
                                 values.size() > layers.size() ? "over " : "",
                                 std::min(values.size(), layers.size()), layers.size()));
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (!read(layers[i], values[i], depth, found)) return false;
    }
    return true;
  }
  void flatten(int layer, std::vector<int>& out) const {
    if (layer < 0 || plan(layer).kind != LayerKind::concat) {
      out.push_back(layer);
      return;
    }
    for (const int part : plan(layer).x) flatten(part, out);
  }
  void flatten(const std::string& start, std::size_t most, std::vector<std::string>& out) const {
    std::vector<std::string> open{start};  // the next last
    while (!open.empty() && out.size() <= most && open.size() <= most + 1) {
      const std::string value = at_.behind_identities(open.back());
      open.pop_back();
      const OnnxNode* const node = at_.maker(value, "Concat", 1);
      if (node && onnx_integer(*node, "axis", 0) == 1 && node->inputs.size() <= most) {
        open.insert(open.end(), node->inputs.rbegin(), node->inputs.rend());
      } else {
        out.push_back(value);
      }
    }
    if (!open.empty()) out.resize(most + 1);
  }

  // One value for each layer: two copies of a node might have different weights.
  bool bind(int layer, const std::string& value) {
    std::vector<std::pair<int, std::string>> open{{layer, value}};
    while (!open.empty()) {
      auto [l, v] = std::move(open.back());
      open.pop_back();
      if (l == network_input) continue;
      const Found& found = *seen_.at({l, v});
      const auto [known, fresh] = bound_.emplace(l, &found);
      if (!fresh) {
        if (known->second == &found || at_.behind_reshapes(v) == at_.behind_reshapes(names_.at(l))) continue;
        return differs(l, int(net_.layers.size()),
                       fmt::format("is both {} and {}", at_.text(names_.at(l)), at_.text(v)));
      }
      names_.emplace(l, v);
      open.insert(open.end(), found.reads.begin(), found.reads.end());
    }
    return true;
  }

  bool collect() {
    bool kept = false;
    for (const int index : net_.listed) {
      const Found& found = *bound_.at(index);
      const bool normed = !plan(index).norm.empty();
      out_.folded |= normed && !found.norm[0];
      kept |= normed && found.norm[0];
    }
    if (out_.folded && kept) out_.notes.push_back("batch norm that the graph has not folded was folded");
    for (const int index : net_.listed) {
      const LayerPlan& l = plan(index);
      const Found& found = *bound_.at(index);
      const std::string norm = l.kind == LayerKind::norm ? l.module : l.norm;
      if (out_.folded && l.kind == LayerKind::conv && found.norm[0]) {
        fold(l, found);
        continue;
      }
      if (found.weight) add(found.turned ? transposed(*found.weight) : *found.weight, l.module + ".weight");
      if (found.bias) add(*found.bias, l.module + ".bias");
      if (!found.norm[0]) continue;
      for (std::size_t i = 0; i < 4; ++i) add(*found.norm[i], norm + "." + norm_parts[i]);
    }
    return true;
  }
  void add(HostTensor tensor, std::string name) {
    out_.sources.push_back(std::move(tensor.name));
    tensor.name = std::move(name);
    out_.tensors.push_back(std::move(tensor));
  }
  void fold(const LayerPlan& l, const Found& found) {
    const std::vector<float> weight = found.weight->to_f32();
    const std::vector<float> bias = found.bias ? found.bias->to_f32() : std::vector<float>{};
    std::vector<float> parts[4];
    for (std::size_t i = 0; i < 4; ++i) parts[i] = found.norm[i]->to_f32();
    auto [w, b] = weights::fold_batch_norm(l.module + ".weight", weight, bias,
                                           {parts[0], parts[1], parts[2], parts[3], batch_norm_epsilon});
    add(HostTensor::from_f32(found.weight->name, found.weight->shape, w), l.module + ".weight");
    add(HostTensor::from_f32(found.norm[1]->name, {l.out}, b), l.module + ".bias");
  }
  static HostTensor transposed(const HostTensor& t) {
    HostTensor out{t.name, t.dtype, {t.shape[1], t.shape[0]}, nullptr};
    const std::size_t unit = weights::dtype_size(t.dtype), rows = std::size_t(t.shape[0]),
                      columns = std::size_t(t.shape[1]);
    const std::shared_ptr<std::byte[]> memory(new std::byte[out.byte_size() + 1]);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c) {
        std::memcpy(memory.get() + (c * rows + r) * unit, t.data.get() + (r * columns + c) * unit, unit);
      }
    }
    out.data = {memory, memory.get()};
    return out;
  }

  // Sides of all layers' outputs for the picture the graph was exported with; 0 where it cannot be told.
  void find_sides() {
    const Numbers& shape = at_.graph().inputs[0].shape;
    sides_.push_back(
        shape.size() == 4 && shape[2] == shape[3] && shape[2] >= 1 && shape[2] < 1 << 20 ? int(shape[2]) : 0);
    for (const LayerPlan& l : net_.layers) {
      const int in = side_of(l.x[0]);
      int out = in;
      if (l.kind == LayerKind::conv || l.kind == LayerKind::max_pool || l.kind == LayerKind::avg_pool) {
        const int room = in + 2 * l.pad - l.kernel;
        out = in == 0 || room < 0 ? 0 : (room + (l.ceil_mode ? l.stride - 1 : 0)) / l.stride + 1;
        if (l.ceil_mode && out > 0 && (out - 1) * l.stride >= in + l.pad)
          --out;  // no window begins in the padding
      } else if (l.kind == LayerKind::shortcut) {
        out = (in + l.stride - 1) / l.stride;
      } else if (l.kind == LayerKind::adaptive_avg_pool) {
        out = l.size;
      } else if (l.kind == LayerKind::global_avg_pool || l.kind == LayerKind::linear) {
        out = 0;
      }
      sides_.push_back(out);
    }
  }
  int side_of(int layer) const { return sides_.at(std::size_t(layer + 1)); }

  OnnxValues at_;
  const NetGraph& net_;
  OnnxMatch out_;
  std::map<std::pair<int, std::string>, std::optional<Found>> seen_;
  std::map<int, const Found*> bound_;
  std::map<int, std::string> names_;
  std::vector<int> sides_;
};

}  // namespace

OnnxMatch match_onnx(const weights::OnnxGraph& onnx, const NetGraph& net) {
  return Matcher(onnx, net).run();
}

}  // namespace retrace
