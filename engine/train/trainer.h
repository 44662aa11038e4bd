// Training step by step: forward, loss, backward, update. Knows no files and no data sets.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/train/network.h"
#include "engine/train/optimizer.h"

namespace retrace {

struct TrainOptions {
  std::string model;
  int classes = 0;
  OptimizerOptions optimizer;
  CosineSchedule schedule;
  float smoothing = 0;     // of labels, see kernels::CrossEntropy
  float dropout = 0;       // in front of the head
  float average = 0;       // the moving average's decay; 0: none is kept
  std::uint64_t seed = 1;  // of dropout
};

struct StepResult {
  std::int64_t step = 0;  // from 1
  double loss = 0;        // mean over the batch
  double rate = 0;
  double gradient_norm = 0;   // before clipping
  std::vector<float> logits;  // [n, classes]
};

class Trainer {
 public:
  // Values in the order of model_parameters(model, classes).
  Trainer(Device& device, const TrainOptions& options, const std::vector<ParameterValue>& values);

  // One step on a batch: x [n, h, w, 3], normalised; targets [n, classes], the probability of each class. A loss or
  // gradient that is not finite throws Error naming the step and the first layer with such a value; the
  // parameters are then as before the step, only the running statistics have moved.
  StepResult step(const Tensor& x, const Tensor& targets);

  std::int64_t steps_done() const { return steps_; }
  const TrainOptions& options() const { return options_; }
  TrainableNetwork& network() { return *network_; }

  // In a checkpoint's layout, to build a model from or to write: what has been learnt, the moving average if one is
  // kept.
  std::vector<ParameterValue> learnt() const;
  // The parameters themselves.
  std::vector<ParameterValue> parameters() const { return network_->parameters().to_host(); }

  // Error naming the step and the first parameter or array of the state that is not finite. A step looks at what it
  // begins with, not at what it makes: ask before keeping it.
  void require_finite() const;

  // Everything else that a run must keep to go on bit for bit, as named arrays; and back. `restore` throws Error
  // naming an array that is missing or has another size, and then changes nothing.
  std::map<std::string, std::vector<float>> state() const;
  void restore(std::int64_t steps_done, const std::map<std::string, std::vector<float>>& state);

 private:
  std::vector<StateTensor> state_tensors() const;
  [[noreturn]] void not_finite(const Tape& tape, NodeId logits, double loss, double norm) const;

  Device* device_;
  TrainOptions options_;
  std::unique_ptr<TrainableNetwork> network_;
  Optimizer optimizer_;
  std::optional<MovingAverage> average_;
  GradientRule rule_;
  std::int64_t steps_ = 0;
};

}  // namespace retrace
