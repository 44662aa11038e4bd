// Layer-wise relevance propagation (Bach et al. 2015) as a walk rule.
//
// The walk's signal is c, relevance per unit of activation: R = c ⊙ value at every node but the network's input,
// where it is R itself. So ReLUs, pools and shortcuts go back as in a gradient, nothing is divided by a small
// activation, and a rule is only another gate at a linear map's output and other weights on its way back.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "attribution/ledger.h"
#include "engine/walk.h"

namespace retrace {

enum class LayerRule : std::uint8_t { epsilon, z_plus, gamma, alpha_beta, z_box, flat, w_square };
const char* layer_rule_name(LayerRule rule);

using kernels::BiasPolicy;
enum class ResidualPolicy : std::uint8_t { split, joint };
enum class Start : std::uint8_t { one_hot, logit };

struct LrpOptions {
  std::string composite;
  LayerRule first = LayerRule::flat;      // of the convolution that reads the input
  LayerRule conv = LayerRule::gamma;      // of the other convolutions
  LayerRule linear = LayerRule::epsilon;  // of fully connected layers
  BiasPolicy bias = BiasPolicy::spread;
  // split: a residual sum is a layer of its own, under the norm rule; each branch divides by its own output.
  // joint: the block's tail, branch and skip together, is one linear map. Not with alpha-beta, which compounds α.
  ResidualPolicy residual = ResidualPolicy::joint;
  Start start = Start::logit;
  float gamma = 0.25f, alpha = 2, beta = 1;
  // The stabilizer's ε. Unset: 1e-6 with split, none with joint, whose denominators are 0 only where relevance is.
  std::optional<float> epsilon;
  // z-box: the lowest and highest value a pixel of each channel can have after normalisation.
  std::array<float, 4> low{}, high{};

  float epsilon_value() const { return epsilon.value_or(residual == ResidualPolicy::split ? 1e-6f : 0.0f); }
};

// "gamma-flat" (the default), "epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box",
// "epsilon-alpha2-beta1", "epsilon-alpha2-beta1-flat". UsageError lists them for any other name.
const std::vector<std::string>& lrp_composites();
LrpOptions lrp_composite(const std::string& name);
// Throws UsageError where options do not go together.
void check(const LrpOptions& options);

class LrpRule : public GradientRule {
 public:
  explicit LrpRule(LrpOptions options);

  void begin(Walk& walk) override;
  void propagate(Walk& walk, NodeId id) override;
  bool gates_by_mask() const override { return false; }  // a gate's quotient is 0 where the ReLU is shut

  // After the walk.
  Ledger ledger(NodeId input) { return keeper_.finish(input); }

 private:
  // One way into a linear sum: through a convolution or fully connected layer, or (map_node = no_node) as it is.
  struct Arm {
    NodeId from = no_node;
    NodeId map_node = no_node;
  };
  // A signal at the sum's output and the weights it goes back through.
  struct Term {
    PartKey weights;
    Tensor signal;
  };
  struct Sum;

  void linear_map(Walk& walk, NodeId id);
  void first_layer(Walk& walk, const Sum& sum, LayerRule rule);
  void norm(Walk& walk, NodeId id);
  void clamped(Walk& walk, NodeId id);
  LayerRule rule_for(const Walk& walk, NodeId id) const;
  static Arm joint_arm(const Walk& walk, NodeId residual);

  Tensor products(Walk& walk, const Sum& sum, PartKey key) const;
  void send(Walk& walk, const Sum& sum, const std::vector<Term>& terms);
  static void send_as_it_is(Walk& walk, NodeId to, const std::vector<Term>& terms);
  static void send_to_signed(Walk& walk, const Arm& arm, const std::vector<Term>& terms);

  LrpOptions options_;
  LedgerKeeper keeper_;
};

}  // namespace retrace
