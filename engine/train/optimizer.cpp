#include "engine/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace retrace {

namespace {

constexpr const char* kind_names[] = {"decayed", "plain", "statistic"};

void append(std::vector<StateTensor>& to, const std::string& name, const ParameterArrays& arrays) {
  for (std::size_t kind = 0; kind < parameter_kinds; ++kind) {
    if (arrays[kind]) to.push_back({name + "." + kind_names[kind], arrays[kind]});
  }
}

}  // namespace

Optimizer::Optimizer(const ParameterStore& parameters, const OptimizerOptions& options)
    : parameters_(&parameters), options_(options) {
  if (options.kind == OptimizerKind::adamw || options.momentum != 0) first_ = parameters.zeros_like(false);
  if (options.kind == OptimizerKind::adamw) second_ = parameters.zeros_like(false);
  for (std::size_t kind = 0; kind < 2; ++kind) {
    partials_[kind] = kernels::sum_squares_partials(parameters.gradients()[kind].size());
  }
  partial_ = Tensor(parameters.device(), {partials_[0] + partials_[1]}, ElementType::f64);
  norm_ = Tensor(parameters.device(), {1});
  scale_ = Tensor(parameters.device(), {1});
}

float Optimizer::measure() {
  const auto& launch = parameters_->device().kernels();
  const Stream stream = parameters_->device().stream();
  const ParameterArrays& gradients = parameters_->gradients();
  for (std::size_t kind = 0; kind < 2; ++kind) {
    launch.sum_squares(
        {gradients[kind].size(), gradients[kind].data(), partial_.data<double>() + (kind ? partials_[0] : 0)},
        stream);
  }
  launch.clip_scale(
      {partials_[0] + partials_[1], partial_.data<double>(), options_.clip_norm, norm_.data(), scale_.data()},
      stream);
  return norm_.to_host()[0];
}

void Optimizer::step(double rate, std::int64_t step) {
  const auto& launch = parameters_->device().kernels();
  const Stream stream = parameters_->device().stream();
  const ParameterArrays &values = parameters_->values(), &gradients = parameters_->gradients();
  for (std::size_t kind = 0; kind < 2; ++kind) {
    const float decay = ParameterKind(kind) == ParameterKind::decayed ? options_.weight_decay : 0;
    if (options_.kind == OptimizerKind::sgd) {
      kernels::SgdStep sgd{.count = values[kind].size(), .rate = float(rate), .momentum = options_.momentum};
      sgd.weight_decay = decay;
      sgd.nesterov = options_.nesterov && options_.momentum != 0;
      sgd.scale = scale_.data();
      sgd.dw = gradients[kind].data();
      sgd.velocity = first_[kind] ? first_[kind].data() : nullptr;
      sgd.w = values[kind].data();
      launch.sgd_step(sgd, stream);
    } else {
      kernels::AdamWStep adam{.count = values[kind].size(), .step = step, .rate = float(rate)};
      adam.beta1 = options_.beta1;
      adam.beta2 = options_.beta2;
      adam.epsilon = options_.epsilon;
      adam.weight_decay = decay;
      adam.scale = scale_.data();
      adam.dw = gradients[kind].data();
      adam.first = first_[kind].data();
      adam.second = second_[kind].data();
      adam.w = values[kind].data();
      launch.adamw_step(adam, stream);
    }
  }
}

std::vector<StateTensor> Optimizer::state() const {
  std::vector<StateTensor> all;
  append(all, options_.kind == OptimizerKind::sgd ? "velocity" : "first_moment", first_);
  append(all, "second_moment", second_);
  return all;
}

MovingAverage::MovingAverage(const ParameterStore& parameters, float decay)
    : parameters_(&parameters), decay_(decay), values_(parameters.zeros_like(true)) {
  for (std::size_t kind = 0; kind < parameter_kinds; ++kind) {
    parameters.device().copy(values_[kind].raw(), parameters.values()[kind].raw(), values_[kind].bytes());
  }
}

void MovingAverage::update(std::int64_t step) {
  const float keep = std::min(decay_, float(1 + step) / float(10 + step));
  Device& device = parameters_->device();
  for (std::size_t kind = 0; kind < parameter_kinds; ++kind) {
    device.kernels().combine({values_[kind].size(), 1 - keep, keep, parameters_->values()[kind].data(),
                              values_[kind].data(), values_[kind].data()},
                             device.stream());
  }
}

std::vector<StateTensor> MovingAverage::state() const {
  std::vector<StateTensor> all;
  append(all, "average", values_);
  return all;
}

double CosineSchedule::rate(std::int64_t step) const {
  if (step <= warm_up) return peak * double(step) / double(warm_up);
  const double done = steps > warm_up ? double(step - warm_up) / double(steps - warm_up) : 1;
  return last + (peak - last) * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, done)));
}

}  // namespace retrace
