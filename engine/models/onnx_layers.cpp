// Layer by layer: whether the nodes of an ONNX graph compute what a LayerPlan says.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/models/onnx_matcher.h"
#include "weights/checked.h"
#include "weights/fold_batch_norm.h"

namespace retrace {

using weights::HostTensor;
using weights::OnnxNode;
using Numbers = std::vector<std::int64_t>;

bool OnnxMatcher::activation(int layer, std::string& value, int depth) {
  const Activation wanted = plan(layer).activation;
  if (wanted == Activation::none) return true;
  const OnnxNode* const node = at_.maker(value, wanted == Activation::relu ? "Relu" : "Clip", 1);
  if (!node) return unexpected(layer, depth, value, wanted == Activation::relu ? "Relu" : "Clip from 0 to 6");
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

bool OnnxMatcher::conv(int layer, std::string value, int depth, OnnxFound& found) {
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

bool OnnxMatcher::convolve(int layer, std::string value, int depth, OnnxFound& found) {
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
    return differs(
        layer, depth,
        fmt::format("{}: group {}, expected {}", at_.text(value), onnx_integer(*node, "group", 1), l.groups));
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

bool OnnxMatcher::batch_norm(int layer, const OnnxNode& node, const std::string& value, int depth,
                             OnnxFound& found) {
  const float epsilon = onnx_real(node, "epsilon", 1e-5f);
  if (epsilon != float(batch_norm_epsilon)) {
    return differs(layer, depth,
                   fmt::format("{}: epsilon {}, expected {}", at_.text(value), epsilon, batch_norm_epsilon));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    found.norm[i] = at_.constant(node.inputs[i + 1]);
    if (!parameter(layer, found.norm[i], node.inputs[i + 1], {plan(layer).out}, depth)) return false;
  }
  return true;
}

bool OnnxMatcher::parameter(int layer, const HostTensor* tensor, const std::string& value,
                            const Numbers& shape, int depth) {
  if (tensor == nullptr)
    return differs(layer, depth, fmt::format("{} is no tensor of the file", at_.text(value)));
  if (tensor->shape == shape) return true;
  return differs(layer, depth,
                 fmt::format("{} is {}, expected {}", at_.text(value), weights::shape_text(tensor->shape),
                             weights::shape_text(shape)));
}

bool OnnxMatcher::window(int layer, const OnnxNode& node, const std::string& value, int depth,
                         bool ceil_mode) {
  const LayerPlan& l = plan(layer);
  const auto same = [&](const char* name, const Numbers& found, const Numbers& expected) {
    if (found == expected) return true;
    return differs(layer, depth,
                   fmt::format("{}: {} {}, expected {}", at_.text(value), name, weights::shape_text(found),
                               weights::shape_text(expected)));
  };
  const std::string padding = onnx_text(node, "auto_pad", "NOTSET");
  if (padding != "NOTSET" && !(padding == "VALID" && l.pad == 0)) {
    return differs(layer, depth,
                   fmt::format("{}: auto_pad {}, expected NOTSET", at_.text(value), weights::quote(padding)));
  }
  const bool ceil = onnx_integer(node, "ceil_mode", 0) != 0;
  if (ceil != ceil_mode) {
    return differs(layer, depth,
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

bool OnnxMatcher::linear(int layer, std::string value, int depth, OnnxFound& found) {
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

bool OnnxMatcher::adaptive_pool(int layer, const std::string& value, int depth, OnnxFound& found) {
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
    return differs(
        layer, depth,
        fmt::format("{}: kernel {} and strides {} do not make {} x {} of {} x {}", at_.text(value),
                    weights::shape_text(kernel), weights::shape_text(onnx_integers(*node, "strides", {1, 1})),
                    l.size, l.size, side, side));
  }
  return read(l.x[0], node->inputs[0], depth, found);
}

bool OnnxMatcher::shortcut(int layer, std::string value, int depth, OnnxFound& found) {
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

bool OnnxMatcher::concat(int layer, const std::string& value, int depth, OnnxFound& found) {
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

void OnnxMatcher::flatten(int layer, std::vector<int>& out) const {
  if (layer < 0 || plan(layer).kind != LayerKind::concat) {
    out.push_back(layer);
    return;
  }
  for (const int part : plan(layer).x) flatten(part, out);
}

void OnnxMatcher::flatten(const std::string& start, std::size_t most, std::vector<std::string>& out) const {
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

}  // namespace retrace
