#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace retrace {

namespace {

bool all_finite(const Tensor& t) {
  const auto host = t.to_host();
  return std::all_of(host.begin(), host.end(), [](float v) { return std::isfinite(v); });
}

}  // namespace

Trainer::Trainer(Device& device, const TrainOptions& options, const std::vector<ParameterValue>& values)
    : device_(&device),
      options_(options),
      network_(build_trainable(device, options.model, options.classes, values)),
      optimizer_(network_->parameters(), options.optimizer),
      rule_(network_->slots()) {
  if (options.average > 0) average_.emplace(network_->parameters(), options.average);
}

StepResult Trainer::step(const Tensor& x, const Tensor& targets) {
  StepResult result;
  result.step = steps_ + 1;
  result.rate = options_.schedule.rate(result.step);
  Tape tape(*device_);
  const NodeId logits = network_->forward(
      tape, tape.input(x), {options_.dropout, options_.seed, std::uint64_t(result.step) << 32});
  const Tensor& z = tape.value(logits);
  if (targets.shape() != z.shape()) {
    throw Error(
        fmt::format("targets of shape {}, expected {}", to_string(targets.shape()), to_string(z.shape())));
  }
  const std::int64_t n = z.dim(0);
  const Tensor losses(*device_, {n}), seed(*device_, z.shape());
  kernels::CrossEntropy loss{.rows = int(n), .columns = int(z.dim(1)), .logits = z.data()};
  loss.targets = targets.data();
  loss.smoothing = options_.smoothing;
  loss.scale = 1 / float(n);
  loss.loss = losses.data();
  loss.dlogits = seed.data();
  device_->kernels().cross_entropy(loss, device_->stream());

  Walk(tape, rule_, logits, {}).run(seed);

  // An update with a gradient that is not finite would leave nothing to go on from: look first. The norm is not
  // finite if any gradient is not.
  for (const float v : losses.to_host()) result.loss += double(v) / double(n);
  if (!std::isfinite(result.loss)) not_finite(tape, logits, result.loss, 0);
  result.gradient_norm = optimizer_.measure();
  if (!std::isfinite(result.gradient_norm)) not_finite(tape, logits, result.loss, result.gradient_norm);
  optimizer_.step(result.rate, result.step);
  if (average_) average_->update(result.step);
  steps_ = result.step;
  result.logits = z.to_host();
  return result;
}

void Trainer::not_finite(const Tape& tape, NodeId logits, double loss, double norm) const {
  const std::string begin = fmt::format("step {}: ", steps_ + 1);
  for (const Parameter& p : network_->parameters().all()) {
    if (p.kind != ParameterKind::statistic && !all_finite(p.value))
      throw Error(fmt::format("{}parameter {} is not finite", begin, p.spec.name));
  }
  for (NodeId id = 0; id <= logits; ++id) {
    if (all_finite(tape.value(id))) continue;
    throw Error(fmt::format("{}the loss is {}; the first layer whose output is not finite is {}", begin, loss,
                            tape.node(id).name));
  }
  // Backwards the last layer comes first.
  const auto& all = network_->parameters().all();
  for (auto p = all.rbegin(); p != all.rend(); ++p) {
    if (p->gradient && !all_finite(p->gradient)) {
      throw Error(fmt::format("{}the gradient of {} is not finite (loss {})", begin, p->spec.name, loss));
    }
  }
  throw Error(fmt::format("{}loss {}, gradient norm {}: not finite, though every layer's output is", begin,
                          loss, norm));
}

void Trainer::require_finite() const {
  for (const Parameter& p : network_->parameters().all()) {
    if (!all_finite(p.value))
      throw Error(fmt::format("step {}: parameter {} is not finite", steps_, p.spec.name));
  }
  for (const StateTensor& t : state_tensors()) {
    if (!all_finite(t.value)) throw Error(fmt::format("step {}: {} is not finite", steps_, t.name));
  }
}

std::vector<ParameterValue> Trainer::learnt() const {
  return average_ ? network_->parameters().to_host(average_->values()) : parameters();
}

std::vector<StateTensor> Trainer::state_tensors() const {
  std::vector<StateTensor> all = optimizer_.state();
  if (average_) {
    for (StateTensor& t : average_->state()) all.push_back(std::move(t));
  }
  return all;
}

std::map<std::string, std::vector<float>> Trainer::state() const {
  std::map<std::string, std::vector<float>> result;
  for (const StateTensor& t : state_tensors()) result[t.name] = t.value.to_host();
  return result;
}

void Trainer::restore(std::int64_t steps_done, const std::map<std::string, std::vector<float>>& state) {
  const std::vector<StateTensor> tensors = state_tensors();
  for (const StateTensor& t : tensors) {
    const auto at = state.find(t.name);
    if (at == state.end()) throw Error(fmt::format("the training state has no {}", t.name));
    if (std::int64_t(at->second.size()) != t.value.size()) {
      throw Error(fmt::format("the training state's {} has {} values, expected {}", t.name, at->second.size(),
                              t.value.size()));
    }
  }
  for (const StateTensor& t : tensors) {
    device_->upload(t.value.raw(), state.at(t.name).data(), t.value.bytes());
  }
  steps_ = steps_done;
}

}  // namespace retrace
