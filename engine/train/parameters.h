// The parameters of a network in training: many tensors in three long arrays, so that an optimizer's step, a
// moving average or a gradient norm is one launch each.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/models/model.h"
#include "engine/tensor.h"

namespace retrace {

// decayed: weights of convolutions and fully connected layers; plain: biases and batch norms' scales, which weight
// decay leaves alone; statistic: batch norms' running mean and variance, which no gradient moves.
enum class ParameterKind : std::uint8_t { decayed, plain, statistic };
inline constexpr int parameter_kinds = 3;

// One array per kind; [0] decayed, [1] plain, [2] statistic.
using ParameterArrays = std::array<Tensor, parameter_kinds>;

struct Parameter {
  ParameterSpec spec;  // as in a checkpoint; convolutions KCRS
  ParameterKind kind{};
  std::int64_t first = 0;  // in its kind's array
  Tensor value, gradient;  // views, convolutions KRSC; no gradient for a statistic
};

class ParameterStore {
 public:
  // Values in the order of the specs; Error where the shapes differ.
  ParameterStore(Device& device, std::vector<ParameterSpec> specs, const std::vector<ParameterValue>& values);

  Device& device() const { return *device_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter& at(const std::string& name) const;  // Error if there is none
  // All parameters of a kind in one array. Between them and behind the last there may be zeros.
  const ParameterArrays& values() const { return values_; }
  const ParameterArrays& gradients() const { return gradients_; }  // none for statistics

  // In a checkpoint's order and layout: the parameters, or what stands in their places in arrays like values().
  std::vector<ParameterValue> to_host() const { return to_host(values_); }
  std::vector<ParameterValue> to_host(const ParameterArrays& arrays) const;
  // New arrays like values(), zeros.
  ParameterArrays zeros_like(bool with_statistics) const;

 private:
  Device* device_;
  std::vector<Parameter> parameters_;
  ParameterArrays values_, gradients_;
};

// Fresh values as torchvision's ResNets start (He et al. 2015): convolutions normal with variance 2 / (K · R · S),
// scales 1 and biases 0, the fully connected layer uniform within 1 / √C. With `zero_residual` the last scale of each
// residual branch is 0, so that every block starts as its skip (Goyal et al. 2017). The same for the same seed.
std::vector<ParameterValue> initial_parameters(const std::string& model, int classes, std::uint64_t seed,
                                               bool zero_residual);

}  // namespace retrace
