// The parameters of one linear map, a convolution's or a fully connected layer's, and the modified copies of
// them that relevance rules propagate with. A copy is made once and kept, so that further walks find it packed.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "engine/tensor.h"

namespace retrace {

// all · w + positive · max(w, 0) + negative · min(w, 0)
struct PartKey {
  float all = 0, positive = 0, negative = 0;
  auto operator<=>(const PartKey&) const = default;
};
namespace parts {
inline constexpr PartKey all{1, 0, 0}, positive{0, 1, 0}, negative{0, 0, 1}, absolute{0, 1, -1};
}

class LinearMap {
 public:
  // weight: KRSC or [K, C]; bias: [K] or empty.
  LinearMap(std::string name, Tensor weight, Tensor bias);

  const std::string& name() const { return name_; }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  const Tensor& weight(PartKey key) const { return part(weight_, weight_parts_, key); }
  // Empty if there is no bias.
  const Tensor& bias(PartKey key) const { return bias_ ? part(bias_, bias_parts_, key) : bias_; }
  // w², and ones of the weight's shape
  const Tensor& squared() const;
  const Tensor& ones() const;

 private:
  using Cache = std::map<PartKey, Tensor>;
  const Tensor& part(const Tensor& whole, Cache& cache, PartKey key) const;

  std::string name_;
  Tensor weight_, bias_;
  mutable std::mutex mutex_;
  mutable Cache weight_parts_, bias_parts_;
  mutable Tensor squared_, ones_;
};

}  // namespace retrace
