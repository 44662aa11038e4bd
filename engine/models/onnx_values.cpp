#include "engine/models/onnx_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "weights/checked.h"

namespace retrace {

using weights::HostTensor;
using weights::OnnxAttribute;
using weights::OnnxNode;

namespace {

constexpr std::size_t most_numbers = 64;
constexpr int deepest = 16;
constexpr int longest_chain = 64;  // of nodes that change nothing: what has more is no exporter's

std::optional<OnnxNumbers> numbers_of(const HostTensor& tensor) {
  if (tensor.count() > std::int64_t(most_numbers)) return std::nullopt;
  OnnxNumbers out{tensor.shape, std::vector<std::int64_t>(std::size_t(tensor.count()))};
  const std::byte* const data = tensor.data.get();
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    if (tensor.dtype == weights::DType::i64) {
      std::memcpy(&out.values[i], data + 8 * i, 8);
    } else if (tensor.dtype == weights::DType::i32) {
      std::int32_t value = 0;
      std::memcpy(&value, data + 4 * i, 4);
      out.values[i] = value;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  return weights::element_count(shape).value_or(-1);
}

std::optional<OnnxNumbers> reshaped(OnnxNumbers data, const std::vector<std::int64_t>& shape) {
  std::int64_t known = 1, open = -1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1 && open < 0) {
      open = std::int64_t(i);
    } else if (shape[i] >= 1 && shape[i] <= std::int64_t(most_numbers) &&
               known <= std::int64_t(most_numbers)) {
      known *= shape[i];
    } else {
      return std::nullopt;
    }
  }
  const auto count = std::int64_t(data.values.size());
  data.shape = shape;
  if (open >= 0) data.shape[std::size_t(open)] = count / known;
  if (product(data.shape) != count) return std::nullopt;
  return data;
}

// Rows start, start + step … of the first axis, up to `end`, as Python slices.
std::optional<OnnxNumbers> sliced(const OnnxNumbers& data, std::int64_t start, std::int64_t end,
                                  std::int64_t step) {
  if (data.shape.empty() || data.shape[0] == 0 || step == 0 || step < -64 || step > 64) return std::nullopt;
  const std::int64_t n = data.shape[0], row = std::int64_t(data.values.size()) / n;
  const auto clamp = [&](std::int64_t at, std::int64_t low, std::int64_t high) {
    return std::clamp(at < 0 ? at + n : at, low, high);
  };
  start = step > 0 ? clamp(start, 0, n) : clamp(start, 0, n - 1);
  end = step > 0 ? clamp(end, 0, n) : clamp(end, -1, n - 1);
  OnnxNumbers out{data.shape, {}};
  out.shape[0] = 0;
  for (std::int64_t at = start; step > 0 ? at < end : at > end; at += step) {
    const auto first = data.values.begin() + at * row;
    out.values.insert(out.values.end(), first, first + row);
    ++out.shape[0];
  }
  return out;
}

bool is_float_type(std::int64_t type) {
  return type == 1 || type == 10 || type == 11 || type == 16;  // FLOAT, FLOAT16, DOUBLE, BFLOAT16
}

const OnnxAttribute* attribute(const OnnxNode& node, std::string_view name, OnnxAttribute::Kind kind) {
  const OnnxAttribute* const found = node.find(name);
  return found && found->kind == kind ? found : nullptr;
}

}  // namespace

std::int64_t onnx_integer(const OnnxNode& node, std::string_view name, std::int64_t otherwise) {
  const auto* const found = attribute(node, name, OnnxAttribute::Kind::integer);
  return found ? found->integer : otherwise;
}
float onnx_real(const OnnxNode& node, std::string_view name, float otherwise) {
  const auto* const found = attribute(node, name, OnnxAttribute::Kind::real);
  return found ? found->real : otherwise;
}
std::string onnx_text(const OnnxNode& node, std::string_view name, const std::string& otherwise) {
  const auto* const found = attribute(node, name, OnnxAttribute::Kind::text);
  return found ? found->text : otherwise;
}
std::vector<std::int64_t> onnx_integers(const OnnxNode& node, std::string_view name,
                                        std::vector<std::int64_t> otherwise) {
  const auto* const found = attribute(node, name, OnnxAttribute::Kind::integers);
  return found ? found->integers : otherwise;
}

const OnnxNode* OnnxValues::maker(const std::string& value) const {
  const auto found = graph_.maker.find(value);
  if (found == graph_.maker.end()) return nullptr;
  const OnnxNode& node = graph_.nodes[found->second];
  return node.domain.empty() ? &node : nullptr;
}

const OnnxNode* OnnxValues::maker(const std::string& value, std::string_view op, std::size_t inputs) const {
  const OnnxNode* const node = maker(value);
  return node && node->op == op && node->inputs.size() >= inputs ? node : nullptr;
}

const HostTensor* OnnxValues::constant(const std::string& value) const {
  const auto found = graph_.constants.find(value);
  return found == graph_.constants.end() ? nullptr : &found->second;
}

std::string OnnxValues::text(const std::string& value) const {
  if (const auto made = graph_.maker.find(value); made != graph_.maker.end()) {
    return graph_.nodes[made->second].text(made->second);
  }
  return fmt::format("{} {}", constant(value) ? "tensor" : "the input", weights::quote(value));
}

std::string OnnxValues::behind_identities(std::string value) const {
  for (int n = 0; n < longest_chain; ++n) {
    const OnnxNode* const node = maker(value);
    if (!node || node->inputs.empty() || node->outputs.at(0) != value) return value;
    bool same = node->op == "Identity" || node->op == "Dropout";
    if (node->op == "Cast") same = is_float_type(onnx_integer(*node, "to", 0));
    if (node->op == "Concat") same = node->inputs.size() == 1;
    if (node->op == "Pad") {
      const auto pads = zero_pads(*node);
      same = pads && std::all_of(pads->begin(), pads->end(), [](auto pad) { return pad == 0; });
    }
    if (!same) return value;
    value = node->inputs[0];
  }
  return value;
}

std::string OnnxValues::behind_reshapes(std::string value) const {
  for (int n = 0; n < longest_chain; ++n) {
    value = behind_identities(std::move(value));
    const OnnxNode* const node = maker(value);
    if (!node || node->inputs.empty()) return value;
    bool flat = node->op == "Flatten" && onnx_integer(*node, "axis", 1) == 1;
    if (node->op == "Reshape" && node->inputs.size() == 2) {
      const auto shape = input_numbers(*node, 1);
      // x.view(x.size(0), -1) asks the picture's own batch: [N] and what is left, put together.
      const OnnxNode* const pair = maker(node->inputs[1], "Concat", 2);
      flat = shape ? shape->size() == 2 : pair && pair->inputs.size() == 2;
    }
    if (node->op == "Squeeze") {
      const auto dropped = axes(*node);
      flat = dropped && !dropped->empty() &&
             std::all_of(dropped->begin(), dropped->end(), [](auto axis) { return axis == 2 || axis == 3; });
    }
    if (!flat) return value;
    value = node->inputs[0];
  }
  return value;
}

std::optional<OnnxNumbers> OnnxValues::numbers(const std::string& value) const {
  steps_ = 1000;
  return numbers(value, 0);
}

std::optional<OnnxNumbers> OnnxValues::numbers(const std::string& value, int depth) const {
  if (const HostTensor* const tensor = constant(value)) return numbers_of(*tensor);
  const OnnxNode* const node = maker(value);
  if (!node || node->inputs.empty() || depth > deepest || --steps_ < 0) return std::nullopt;
  auto out = computed(*node, depth + 1);
  if (out && out->values.size() > most_numbers) return std::nullopt;
  return out;
}

std::optional<OnnxNumbers> OnnxValues::computed(const OnnxNode& node, int depth) const {
  auto first = numbers(node.inputs[0], depth);
  if (!first) return std::nullopt;
  if (node.op == "Identity" || node.op == "Cast") return first;
  if (node.op == "Shape" && node.attributes.empty()) {
    return OnnxNumbers{{std::int64_t(first->shape.size())}, first->shape};
  }
  if ((node.op == "Mul" || node.op == "Sub" || node.op == "Add") && node.inputs.size() == 2) {
    const auto second = numbers(node.inputs[1], depth);
    if (!second || first->values.size() != 1 || second->values.size() != 1) return std::nullopt;
    const std::int64_t a = first->values[0], b = second->values[0];
    constexpr std::int64_t most = 1 << 20;
    if (a < -most || a > most || b < -most || b > most) return std::nullopt;
    return OnnxNumbers{first->shape.size() < second->shape.size() ? second->shape : first->shape,
                       {node.op == "Mul"   ? a * b
                        : node.op == "Sub" ? a - b
                                           : a + b}};
  }
  if (node.op == "Gather" && node.inputs.size() == 2 && onnx_integer(node, "axis", 0) == 0 &&
      first->shape.size() == 1) {
    const auto index = numbers(node.inputs[1], depth);
    if (!index || index->values.size() != 1) return std::nullopt;
    const std::int64_t count = first->shape[0], at = index->values[0] + (index->values[0] < 0 ? count : 0);
    if (at < 0 || at >= count) return std::nullopt;
    return OnnxNumbers{index->shape, {first->values[std::size_t(at)]}};
  }
  if (node.op == "ConstantOfShape") {
    std::int64_t value = 0;
    if (const auto* const given = attribute(node, "value", OnnxAttribute::Kind::tensor)) {
      const auto one = numbers_of(given->tensor);
      if (!one || one->values.size() != 1) return std::nullopt;
      value = one->values[0];
    }
    const std::int64_t count = product(first->values);
    if (count < 0 || count > std::int64_t(most_numbers)) return std::nullopt;
    return OnnxNumbers{first->values, std::vector<std::int64_t>(std::size_t(count), value)};
  }
  if (node.op == "Concat" && onnx_integer(node, "axis", -1) == 0 && first->shape.size() == 1) {
    for (std::size_t i = 1; i < node.inputs.size(); ++i) {
      const auto next = numbers(node.inputs[i], depth);
      if (!next || next->shape.size() != 1 || first->values.size() + next->values.size() > most_numbers)
        return std::nullopt;
      first->values.insert(first->values.end(), next->values.begin(), next->values.end());
    }
    first->shape[0] = std::int64_t(first->values.size());
    return first;
  }
  if (node.op == "Reshape" && node.inputs.size() == 2) {
    const auto shape = numbers(node.inputs[1], depth);
    return shape ? reshaped(std::move(*first), shape->values) : std::nullopt;
  }
  if (node.op == "Slice" && node.inputs.size() == 5) {
    std::int64_t given[4];  // starts, ends, axes, steps
    for (std::size_t i = 0; i < 4; ++i) {
      const auto one = numbers(node.inputs[i + 1], depth);
      if (!one || one->values.size() != 1) return std::nullopt;
      given[i] = one->values[0];
    }
    return given[2] == 0 ? sliced(*first, given[0], given[1], given[3]) : std::nullopt;
  }
  if (node.op == "Transpose" && first->shape.size() == 2 &&
      onnx_integers(node, "perm", {1, 0}) == std::vector<std::int64_t>{1, 0}) {
    const std::int64_t rows = first->shape[0], columns = first->shape[1];
    OnnxNumbers out{{columns, rows}, {}};
    for (std::int64_t c = 0; c < columns; ++c) {
      for (std::int64_t r = 0; r < rows; ++r)
        out.values.push_back(first->values[std::size_t(r * columns + c)]);
    }
    return out;
  }
  return std::nullopt;
}

std::optional<std::vector<std::int64_t>> OnnxValues::input_numbers(const OnnxNode& node,
                                                                   std::size_t input) const {
  if (input >= node.inputs.size() || node.inputs[input].empty()) return std::nullopt;
  auto found = numbers(node.inputs[input]);
  if (!found) return std::nullopt;
  return std::move(found->values);
}

std::optional<float> OnnxValues::real(const std::string& value) const {
  const HostTensor* const tensor = constant(value);
  if (!tensor || tensor->count() != 1) return std::nullopt;
  return tensor->to_f32()[0];
}

std::optional<std::vector<std::int64_t>> OnnxValues::zero_pads(const OnnxNode& pad) const {
  if (onnx_text(pad, "mode", "constant") != "constant" || onnx_real(pad, "value", 0) != 0)
    return std::nullopt;
  if (pad.inputs.size() > 2 && !pad.inputs[2].empty() && real(pad.inputs[2]) != 0.f) return std::nullopt;
  if (pad.inputs.size() > 3 && !pad.inputs[3].empty()) return std::nullopt;  // axes
  if (pad.inputs.size() > 1) return input_numbers(pad, 1);
  return onnx_integers(pad, "pads", {});
}

std::optional<std::vector<std::int64_t>> OnnxValues::axes(const OnnxNode& node) const {
  std::optional<std::vector<std::int64_t>> found = input_numbers(node, 1);
  if (!found && node.inputs.size() < 2) found = onnx_integers(node, "axes", {});
  if (!found) return std::nullopt;
  for (std::int64_t& axis : *found) axis += axis < 0 ? 4 : 0;
  std::sort(found->begin(), found->end());
  return found;
}

namespace {

// Output channels of a node with weights, 0 of others.
std::int64_t outputs_of(const OnnxValues& at, const OnnxNode& node) {
  if (!node.domain.empty() || node.inputs.size() < 2) return 0;
  const bool conv = node.op == "Conv", gemm = node.op == "Gemm", product = node.op == "MatMul";
  if (!conv && !gemm && !product) return 0;
  std::string weight = node.inputs[1];
  bool turned = product || (gemm && onnx_integer(node, "transB", 0) == 0);
  if (const OnnxNode* const turn = at.maker(weight, "Transpose", 1)) {
    weight = turn->inputs[0];
    turned = !turned;
  }
  const HostTensor* const tensor = at.constant(weight);
  if (!tensor || tensor->shape.size() != (conv ? 4 : 2)) return 0;
  const std::int64_t out = tensor->shape[turned ? 1 : 0];
  return out >= 1 && out <= 1'000'000 ? out : 0;
}

}  // namespace

int onnx_stem_width(const weights::OnnxGraph& onnx) {
  const OnnxValues at(onnx);
  for (const OnnxNode& node : onnx.nodes) {
    if (node.op == "Conv") return int(outputs_of(at, node));
  }
  return 0;
}

int onnx_classes(const weights::OnnxGraph& onnx) {
  const OnnxValues at(onnx);
  for (auto node = onnx.nodes.rbegin(); node != onnx.nodes.rend(); ++node) {
    if (const auto out = outputs_of(at, *node); out > 0) return int(out);
  }
  return 0;
}

}  // namespace retrace
