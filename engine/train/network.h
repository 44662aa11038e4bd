// A network in training: convolutions and batch norms apart, parameters that an optimizer moves.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/train/parameters.h"
#include "engine/walk.h"

namespace retrace {

class TrainableNetwork {
 public:
  virtual ~TrainableNetwork() = default;
  ParameterStore& parameters() { return parameters_; }
  const ParameterStore& parameters() const { return parameters_; }
  // Where each parameter's gradient goes: its place in parameters().gradients().
  const GradientSlots& slots() const { return slots_; }
  // Runs a batch [N, H, W, 3], normalised, onto the tape in training mode: batch norms use the batch's statistics
  // and move the running ones. `dropout` acts in front of the head. Returns the node of the logits.
  virtual NodeId forward(Tape& tape, NodeId input, const DropoutPlan& dropout) const = 0;

 protected:
  TrainableNetwork(Device& device, std::vector<ParameterSpec> specs,
                   const std::vector<ParameterValue>& values)
      : parameters_(device, std::move(specs), values) {}

  ParameterStore parameters_;
  GradientSlots slots_;
};

// Values in the order of model_parameters(model, classes).
std::unique_ptr<TrainableNetwork> build_trainable(Device& device, const std::string& model, int classes,
                                                  const std::vector<ParameterValue>& values);

}  // namespace retrace
