// Optimizers, their schedule, and the moving average of what they find.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/train/parameters.h"

namespace retrace {

enum class OptimizerKind : std::uint8_t { sgd, adamw };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::sgd;
  float momentum = 0.9f;  // sgd
  bool nesterov = true;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;  // adamw
  float weight_decay = 5e-4f;                           // of parameters of kind `decayed`
  float clip_norm = 0;                                  // the largest norm of all gradients together; 0: any
};

// A tensor that a run must keep to go on exactly where it stopped.
struct StateTensor {
  std::string name;  // "velocity.decayed"
  Tensor value;
};

class Optimizer {
 public:
  // The store must outlive it.
  Optimizer(const ParameterStore& parameters, const OptimizerOptions& options);
  // √ of the sum of all gradients' squares, before clipping: not finite if any gradient is not. Waits.
  float measure();
  // Moves the parameters along the gradients that have been measured. `step` counts from 1.
  void step(double rate, std::int64_t step);
  // Views: what is written to them is the optimizer's state.
  std::vector<StateTensor> state() const;

 private:
  const ParameterStore* parameters_;
  OptimizerOptions options_;
  ParameterArrays first_, second_;  // sgd: velocity; adamw: both moments
  Tensor partial_, norm_, scale_;
  int partials_[2] = {};
};

// Exponential moving average of all parameters, running statistics included: it starts as a copy and then keeps
// min(decay, (1 + step) / (10 + step)) of itself at each update.
class MovingAverage {
 public:
  MovingAverage(const ParameterStore& parameters, float decay);
  void update(std::int64_t step);
  const ParameterArrays& values() const { return values_; }
  std::vector<StateTensor> state() const;

 private:
  const ParameterStore* parameters_;
  float decay_;
  ParameterArrays values_;
};

// Linear warm-up from 0 over `warm_up` steps, then half a cosine from `peak` to `last` (Loshchilov & Hutter 2017).
struct CosineSchedule {
  double peak = 0.1, last = 0;
  std::int64_t warm_up = 0, steps = 1;
  double rate(std::int64_t step) const;  // step counts from 1
};

}  // namespace retrace
