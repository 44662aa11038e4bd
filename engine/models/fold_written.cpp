#include "engine/models/fold_written.h"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <set>

#include "engine/models/model.h"
#include "weights/fold_batch_norm.h"

namespace retrace {

namespace {

using weights::HostTensor;
using weights::TensorToWrite;

constexpr double batch_norm_epsilon = 1e-5;  // torch.nn.BatchNorm2d's
constexpr std::size_t norm_parts = 4;        // weight, bias, running mean and variance

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
  const auto apart = model_parameters(model, classes, false);
  const auto folded = model_parameters(model, classes, true);
  if (tensors.size() != apart.size()) {
    throw Error(
        fmt::format("model {}: {} parameters given, {} expected", model, tensors.size(), apart.size()));
  }
  std::set<std::string> kept;
  for (const ParameterSpec& spec : folded) kept.insert(spec.name);
  const auto gone = [&](std::size_t i) { return i < apart.size() && !kept.contains(apart[i].name); };

  // Both lists go through the network in one order. Behind the weight, and perhaps the bias, of a convolution that is
  // folded stands what the folded model has no more.
  std::vector<TensorToWrite> out;
  std::size_t i = 0;
  for (std::size_t j = 0; j < folded.size(); ++j) {
    const ParameterSpec& spec = folded[j];
    constexpr std::string_view ending = ".weight";
    const bool is_weight = spec.name.ends_with(ending);
    const std::string bias =
        spec.name.substr(0, spec.name.size() - (is_weight ? ending.size() : 0)) + ".bias";
    const bool has_bias = is_weight && i + 1 < apart.size() && apart[i + 1].name == bias;
    const std::size_t norm = i + 1 + (has_bias ? 1 : 0);
    if (!is_weight || !gone(norm)) {
      const HostTensor& tensor = tensors[i++];
      out.emplace_back(spec.name, weights::DType::f32, spec.shape,
                       [tensor] { return weights::convert(tensor, weights::DType::f32); });
      continue;
    }
    const auto at = [&](std::size_t k) { return tensors.begin() + std::ptrdiff_t(k); };
    const auto fold = std::make_shared<Fold>(
        tensors[i], std::vector<HostTensor>(at(i + 1), at(norm + norm_parts)), has_bias);
    out.emplace_back(spec.name, weights::DType::f32, spec.shape,
                     [fold, name = spec.name, shape = spec.shape] {
                       return HostTensor::from_f32(name, shape, fold->weight());
                     });
    const ParameterSpec& bias_spec = folded[++j];
    out.emplace_back(bias, weights::DType::f32, bias_spec.shape, [fold, bias, shape = bias_spec.shape] {
      return HostTensor::from_f32(bias, shape, fold->bias());
    });
    i = norm + norm_parts;
  }
  return out;
}

}  // namespace retrace
