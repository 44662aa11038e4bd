#include "engine/models/onnx_match.h"

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

OnnxMatch OnnxMatcher::run() {
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

bool OnnxMatcher::differs(int layer, int depth, const std::string& what) {
  if (out_.error.empty() || std::size_t(depth) > out_.reached) {
    out_.reached = std::size_t(depth);
    out_.error = layer < 0 ? what : fmt::format("layer {}: {}", weights::quote(name_of(plan(layer))), what);
  }
  return false;
}

bool OnnxMatcher::unexpected(int layer, int depth, const std::string& value, std::string_view expected) {
  return differs(layer, depth, fmt::format("{}, expected {}", at_.text(value), expected));
}

bool OnnxMatcher::match(int layer, const std::string& value, int depth) {
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
  OnnxFound found;
  const bool fits = match_layer(layer, value, depth, found);
  seen_.emplace(key, fits ? std::optional(std::move(found)) : std::nullopt);
  return fits;
}

bool OnnxMatcher::read(int layer, const std::string& value, int depth, OnnxFound& found) {
  found.reads.emplace_back(layer, value);
  return match(layer, value, depth + 1);
}

bool OnnxMatcher::match_layer(int layer, std::string value, int depth, OnnxFound& found) {
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

bool OnnxMatcher::bind(int layer, const std::string& value) {
  std::vector<std::pair<int, std::string>> open{{layer, value}};
  while (!open.empty()) {
    auto [l, v] = std::move(open.back());
    open.pop_back();
    if (l == network_input) continue;
    const OnnxFound& found = *seen_.at({l, v});
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

bool OnnxMatcher::collect() {
  bool kept = false;
  for (const int index : net_.listed) {
    const OnnxFound& found = *bound_.at(index);
    const bool normed = !plan(index).norm.empty();
    out_.folded |= normed && !found.norm[0];
    kept |= normed && found.norm[0];
  }
  if (out_.folded && kept) out_.notes.push_back("batch norm that the graph has not folded was folded");
  for (const int index : net_.listed) {
    const LayerPlan& l = plan(index);
    const OnnxFound& found = *bound_.at(index);
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

void OnnxMatcher::add(HostTensor tensor, std::string name) {
  out_.sources.push_back(std::move(tensor.name));
  tensor.name = std::move(name);
  out_.tensors.push_back(std::move(tensor));
}

void OnnxMatcher::fold(const LayerPlan& l, const OnnxFound& found) {
  const std::vector<float> weight = found.weight->to_f32();
  const std::vector<float> bias = found.bias ? found.bias->to_f32() : std::vector<float>{};
  std::vector<float> parts[4];
  for (std::size_t i = 0; i < 4; ++i) parts[i] = found.norm[i]->to_f32();
  auto [w, b] = weights::fold_batch_norm(l.module + ".weight", weight, bias,
                                         {parts[0], parts[1], parts[2], parts[3], batch_norm_epsilon});
  add(HostTensor::from_f32(found.weight->name, found.weight->shape, w), l.module + ".weight");
  add(HostTensor::from_f32(found.norm[1]->name, {l.out}, b), l.module + ".bias");
}

HostTensor OnnxMatcher::transposed(const HostTensor& t) {
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

void OnnxMatcher::find_sides() {
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

OnnxMatch match_onnx(const weights::OnnxGraph& onnx, const NetGraph& net) {
  return OnnxMatcher(onnx, net).run();
}

}  // namespace retrace
