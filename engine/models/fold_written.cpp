#include "engine/models/fold_written.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>

#include "engine/models/graph.h"
#include "weights/fold_batch_norm.h"

namespace retrace {

namespace {

using weights::HostTensor;
using weights::TensorToWrite;

// A tensor's values: where they lie, or in `room`.
std::span<const float> values_of(const HostTensor& tensor, std::vector<float>& room) {
  const auto* const data = reinterpret_cast<const float*>(tensor.data.get());
  if (tensor.dtype == weights::DType::f32 && reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0) {
    return {data, std::size_t(tensor.count())};
  }
  return room = tensor.to_f32();
}

// One convolution and the batch norm behind it. Weight and bias come from one pass; the bias, a few hundred values,
// waits until it is asked for.
class Fold {
 public:
  Fold(HostTensor weight, std::vector<HostTensor> bias_and_norm, bool has_bias)
      : weight_(std::move(weight)), small_(std::move(bias_and_norm)), has_bias_(has_bias) {}

  const std::vector<std::int64_t>& shape() const { return weight_.shape; }
  std::vector<float> weight() {
    auto [weight, bias] = folded();
    bias_ = std::move(bias);
    return std::move(weight);
  }
  std::vector<float> bias() { return bias_.empty() ? folded().bias : std::move(bias_); }

 private:
  weights::FoldedConvolution folded() const {
    std::vector<float> room;
    std::vector<std::vector<float>> small;
    for (const HostTensor& tensor : small_) small.push_back(tensor.to_f32());
    const std::vector<float> none;
    const std::size_t norm = has_bias_ ? 1 : 0;
    return weights::fold_batch_norm(
        weight_.name, values_of(weight_, room), has_bias_ ? small[0] : none,
        {small[norm], small[norm + 1], small[norm + 2], small[norm + 3], batch_norm_epsilon});
  }

  HostTensor weight_;
  std::vector<HostTensor> small_;
  bool has_bias_;
  std::vector<float> bias_;
};

}  // namespace

std::vector<TensorToWrite> folded_when_written(const std::string& model, int classes,
                                               const std::vector<HostTensor>& tensors) {
  const NetGraph graph = model_graph(model, classes);
  const auto apart = graph_parameters(graph, false), folded = graph_parameters(graph, true);
  if (tensors.size() != apart.size()) {
    throw Error(
        fmt::format("model {}: {} parameters given, {} expected", model, tensors.size(), apart.size()));
  }
  std::vector<TensorToWrite> out;
  std::size_t next = 0;  // of `tensors`
  const auto add = [&](auto make) {
    const ParameterSpec& spec = folded.at(out.size());
    out.emplace_back(spec.name, weights::DType::f32, spec.shape, std::move(make));
  };
  const auto copy = [&](int count) {
    for (int i = 0; i < count; ++i) {
      add([tensor = tensors.at(next++)] { return weights::convert(tensor, weights::DType::f32); });
    }
  };
  for (const int index : graph.listed) {
    const LayerPlan& l = graph.layers[std::size_t(index)];
    if (l.kind == LayerKind::norm) {
      copy(int(norm_parts.size()));
    } else if (l.norm.empty()) {
      copy(l.bias ? 2 : 1);
    } else {
      const auto first = tensors.begin() + std::ptrdiff_t(next);
      const std::ptrdiff_t count = 1 + (l.bias ? 1 : 0) + std::ptrdiff_t(norm_parts.size());
      const auto fold =
          std::make_shared<Fold>(*first, std::vector<HostTensor>(first + 1, first + count), l.bias);
      next += std::size_t(count);
      const Shape shape = fold->shape();
      add([fold, name = l.module + ".weight", shape] {
        return HostTensor::from_f32(name, shape, fold->weight());
      });
      add([fold, name = l.module + ".bias", shape] {
        return HostTensor::from_f32(name, {shape[0]}, fold->bias());
      });
    }
  }
  return out;
}

}  // namespace retrace
