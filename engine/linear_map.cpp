#include "engine/linear_map.h"

namespace retrace {

LinearMap::LinearMap(std::string name, Tensor weight, Tensor bias)
    : name_(std::move(name)), weight_(std::move(weight)), bias_(std::move(bias)) {
  if (weight_.shape().size() != 4 && weight_.shape().size() != 2) {
    throw Error(name_ + ": weight of shape " + to_string(weight_.shape()) + ", expected KRSC or [K, C]");
  }
  if (bias_ && bias_.shape() != Shape{weight_.dim(0)}) {
    throw Error(name_ + ": bias of shape " + to_string(bias_.shape()) + ", expected " +
                to_string(Shape{weight_.dim(0)}));
  }
}

const Tensor& LinearMap::part(const Tensor& whole, Cache& cache, PartKey key) const {
  if (key == parts::all) return whole;
  const std::lock_guard lock(mutex_);
  auto [at, is_new] = cache.try_emplace(key);
  if (is_new) {
    Device& device = whole.device();
    at->second = Tensor(device, whole.shape());
    device.kernels().weight_part(
        {whole.size(), whole.data(), key.all, key.positive, key.negative, at->second.data()},
        device.stream());
  }
  return at->second;
}

const Tensor& LinearMap::squared() const {
  const std::lock_guard lock(mutex_);
  if (!squared_) {
    squared_ = Tensor(weight_.device(), weight_.shape());
    weight_.device().kernels().multiply({weight_.size(), weight_.data(), weight_.data(), squared_.data()},
                                        weight_.device().stream());
  }
  return squared_;
}

const Tensor& LinearMap::ones() const {
  const std::lock_guard lock(mutex_);
  if (!ones_) {
    ones_ = Tensor(weight_.device(), weight_.shape());
    weight_.device().kernels().fill({weight_.size(), 1.0f, ones_.data()}, weight_.device().stream());
  }
  return ones_;
}

}  // namespace retrace
