// A walk back along a tape under a rule. The walk owns the signals and their memory, the rule says how a node's
// signal becomes its inputs'. With the gradient rule this is reverse-mode differentiation.
#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "engine/tape.h"

namespace retrace {

class Rule;

class Walk {
 public:
  // Only nodes on a way from `start` to one of `wanted` are visited. The tape must outlive the walk.
  Walk(const Tape& tape, Rule& rule, NodeId start, const std::vector<NodeId>& wanted);

  // seed: the signal at `start`, of its value's shape. Returns the signal at each wanted node, by the node's output
  // (its own ReLU not yet passed); a wanted node that nothing reaches gets zeros.
  std::map<NodeId, Tensor> run(const Tensor& seed);

  // --- for rules ---

  const Tape& tape() const { return *tape_; }
  const Node& node(NodeId id) const { return tape_->node(id); }
  Device& device() const { return tape_->device(); }
  // Whether a signal sent to this node is of use.
  bool needed(NodeId id) const { return id != no_node && needed_[std::size_t(id)]; }
  bool has_signal(NodeId id) const { return bool(signals_[std::size_t(id)].value); }
  // The signal that has arrived at a node's output.
  const Tensor& signal(NodeId id) const { return signals_[std::size_t(id)].value; }
  // The same behind the node's ReLU, if it has one: what reaches the sum inside.
  Tensor gated_signal(NodeId id);

  // Where a launcher writes a contribution to node `to`: it must compute mask ⊙ (own + pending) into `out`.
  struct Sink {
    NodeId to;
    Tensor out;
    kernels::SignalEpilogue epilogue;
  };
  // can_mask: whether that launcher could apply the mask of `to`.
  Sink sink(NodeId to, bool can_mask = true);
  void commit(Sink&& sink);
  // Hands an existing tensor on as a contribution, without copying where it is the first.
  void pass(NodeId to, const Tensor& contribution);

 private:
  struct Signal {
    Tensor value;
    bool borrowed = false;  // also somebody else's: not to be written to
    bool gated = false;     // the ReLU mask has been applied
  };

  bool needs_input(const Node& node) const;

  const Tape* tape_;
  Rule* rule_;
  NodeId start_;
  std::vector<bool> needed_, wanted_;
  std::vector<Signal> signals_;
};

// Turns a node's signal into its inputs' signals.
class Rule {
 public:
  virtual ~Rule() = default;
  virtual void propagate(Walk& walk, NodeId id) = 0;
  // Whether the ReLU's backward is the plain gate on a positive output, so that it may be fused into the launch
  // that makes the signal.
  virtual bool gates_by_mask() const = 0;
  // Whether the signal at this node is of use to the rule itself, even if no input of it is wanted.
  virtual bool uses(const Node&) const { return false; }
  virtual void begin(Walk&) {}
};

// Where the gradient of a linear map's or batch norm's parameters goes: tensors of the parameters' own shapes.
struct ParameterGradient {
  Tensor weight, bias;      // bias empty where there is none
  bool accumulate = false;  // add to what they hold
};
// By the parameters' address, LinearMap or BatchNorm.
using GradientSlots = std::map<const void*, ParameterGradient>;

// The chain rule. With slots it also makes the gradients of the parameters that have one; parameters that several
// nodes share need `accumulate`.
class GradientRule : public Rule {
 public:
  GradientRule() = default;
  explicit GradientRule(GradientSlots slots) : slots_(std::move(slots)) {}

  void propagate(Walk& walk, NodeId id) override;
  bool gates_by_mask() const override { return true; }
  bool uses(const Node& node) const override { return slot_of(node) != nullptr; }

 protected:
  // The backward of ops without parameters, for the signal given at the node's output.
  static void propagate_plain(Walk& walk, NodeId id, const Tensor& signal);

 private:
  const ParameterGradient* slot_of(const Node& node) const;
  void linear_map(Walk& walk, NodeId id, const Tensor& dz) const;
  void batch_norm(Walk& walk, NodeId id, const Tensor& dz) const;

  GradientSlots slots_;
};

}  // namespace retrace
