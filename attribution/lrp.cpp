#include "attribution/lrp.h"

#include <cmath>
#include <set>
#include <utility>

#include "attribution/lrp_maps.h"

namespace retrace {

using namespace kernels;

LrpRule::LrpRule(LrpOptions options) : options_(std::move(options)) {
  check(options_);
}

void LrpRule::begin(Walk& walk) {
  keeper_.begin(walk);
}

namespace {

// Whether each output is one input times a weight: a batch norm that no convolution could take in.
bool one_product(const Node& node) {
  return node.op == Op::conv2d && node.conv.c == node.conv.groups && node.conv.r == 1 && node.conv.s == 1;
}

}  // namespace

LayerRule LrpRule::rule_for(const Walk& walk, NodeId id) const {
  const Node& node = walk.node(id);
  if (node.op == Op::linear) return options_.linear;
  // Nothing there to weigh against each other.
  if (one_product(node)) return LayerRule::epsilon;
  return walk.node(node.x).op == Op::input ? options_.first : options_.conv;
}

void LrpRule::propagate(Walk& walk, NodeId id) {
  const Node& node = walk.node(id);
  switch (node.op) {
    case Op::conv2d:
    case Op::linear:
      return linear_map(walk, id);
    case Op::softmax:
      throw Error("layer " + node.name + ": relevance starts at the logits, not behind a softmax");
    case Op::batch_norm:
      throw Error("layer " + node.name + ": relevance needs batch norm folded into its convolution");
    default:
      break;
  }
  if (walk.node(node.x).op == Op::input) {
    throw Error("layer " + node.name +
                ": relevance needs a convolution or fully connected layer at the input, not " +
                op_name(node.op));
  }
  if (node.op == Op::add || node.op == Op::avg_pool || node.op == Op::global_avg_pool ||
      node.op == Op::adaptive_avg_pool) {
    return norm(walk, id);
  }
  if (node.op == Op::relu && std::isfinite(node.ceiling)) return clamped(walk, id);
  // ReLU, max-pool, option-A shortcut, concatenation: relevance passes as a gradient does.
  keeper_.row(walk, id, "pass");
  const Tensor c = walk.gated_signal(id);
  keeper_.entering(walk, id, c);
  std::set<NodeId> inputs;  // a concatenation may hold one twice
  node.each_input([&](NodeId to) {
    if (walk.needed(to)) inputs.insert(to);
  });
  for (const NodeId to : inputs) keeper_.before(walk, to);
  propagate_plain(walk, id, c);
  for (const NodeId to : inputs) keeper_.after(walk, to);
}

// ReLU6: relevance passes at the ceiling too, where no gradient does. Per unit of what goes in it is less there.
void LrpRule::clamped(Walk& walk, NodeId id) {
  const Node& node = walk.node(id);
  keeper_.row(walk, id, "pass");
  keeper_.entering(walk, id, walk.signal(id));
  keeper_.before(walk, node.x);
  auto sink = walk.sink(node.x, false);
  walk.device().kernels().relu_pass(
      {node.value.size(), walk.signal(id).data(), walk.node(node.x).value.data(), node.ceiling,
       sink.epilogue.pending, sink.out.data()},
      walk.device().stream());
  walk.commit(std::move(sink));
  keeper_.after(walk, node.x);
}

// Sums and averages: epsilon without parameters.
void LrpRule::norm(Walk& walk, NodeId id) {
  const Node& node = walk.node(id);
  keeper_.row(walk, id, "norm");
  const long long count = node.value.size() / node.value.dim(0);
  Tensor s(walk.device(), node.value.shape());
  walk.device().kernels().relevance_gate({.rule = GateRule::epsilon,
                                          .bias = BiasPolicy::ignore,
                                          .epsilon = options_.epsilon_value(),
                                          .n = int(node.value.dim(0)),
                                          .channels = int(node.value.shape().back()),
                                          .count = count,
                                          .c = walk.signal(id).data(),
                                          .v = node.value.data(),
                                          .s = s.data(),
                                          .sums = keeper_.gate_sums(walk, count)},
                                         walk.device().stream());
  keeper_.gate_done(walk, count);
  const auto each = [&](auto visit) {
    if (walk.needed(node.x)) visit(node.x);
    if (node.residual != node.x && walk.needed(node.residual)) visit(node.residual);
  };
  each([&](NodeId to) { keeper_.before(walk, to); });
  propagate_plain(walk, id, s);
  each([&](NodeId to) { keeper_.after(walk, to); });
}

// The skip connection as an arm of the block's tail, one linear map with it: a downsampling convolution that nobody else
// reads, else a value that joins as it is.
LrpRule::Arm LrpRule::joint_arm(const Walk& walk, NodeId residual) {
  const Node& skip = walk.node(residual);
  const bool linear =
      (skip.op == Op::conv2d || skip.op == Op::linear) && !skip.relu && skip.residual == no_node;
  if (linear && walk.tape().consumers(residual) == 1) return {skip.x, residual};
  return {residual, no_node};
}

void LrpRule::linear_map(Walk& walk, NodeId id) {
  const Node& node = walk.node(id);
  const LayerRule rule = rule_for(walk, id);
  const float epsilon = options_.epsilon_value();
  Device& device = walk.device();
  const int n = int(node.value.dim(0)), channels = int(node.value.shape().back());
  const long long count = node.value.size() / n;

  Sum sum{id, {{node.x, id}}, walk.signal(id), node.value, !node.relu};
  keeper_.row(walk, id, layer_rule_name(rule));
  if (node.residual != no_node) {
    if (options_.residual == ResidualPolicy::joint) {
      sum.arms.push_back(joint_arm(walk, node.residual));
    } else {
      // The residual sum under the norm rule, then this branch's own output. That is computed once more: as a
      // difference from the sum it would lose its digits where the branches cancel.
      Tensor c(device, node.value.shape());
      device.kernels().relevance_gate({.rule = GateRule::epsilon,
                                       .bias = BiasPolicy::ignore,
                                       .epsilon = epsilon,
                                       .n = n,
                                       .channels = channels,
                                       .count = count,
                                       .c = sum.c.data(),
                                       .v = sum.v.data(),
                                       .s = c.data(),
                                       .sums = keeper_.gate_sums(walk, count)},
                                      device.stream());
      keeper_.gate_done(walk, count);
      if (walk.needed(node.residual)) {
        keeper_.before(walk, node.residual);
        walk.pass(node.residual, c);
        keeper_.after(walk, node.residual);
      }
      if (!walk.needed(node.x)) return;
      sum.c = c;
      sum.v = Tensor(device, node.value.shape());
      sum.signed_value = true;
      run_map(walk, id, walk.node(node.x).value, Part::all, 1, node.map->weight(), &node.map->bias(), nullptr,
              sum.v);
    }
  }
  if (rule == LayerRule::z_box || rule == LayerRule::flat || rule == LayerRule::w_square) {
    return first_layer(walk, sum, rule);
  }

  // The bias of everything that meets here, and its clamped parts branch by branch.
  const auto total_bias = [&](PartKey key) {
    Tensor total;
    for (const Arm& arm : sum.arms) {
      if (arm.map_node == no_node) continue;
      const Tensor& bias = walk.node(arm.map_node).map->bias(key);
      if (!bias) continue;
      if (!total) {
        total = bias;
      } else {
        Tensor both(device, bias.shape());
        device.kernels().combine({both.size(), 1, 1, total.data(), bias.data(), both.data()},
                                 device.stream());
        total = both;
      }
    }
    return total;
  };
  const Tensor b = total_bias(parts::all), bp = total_bias(parts::positive), bn = total_bias(parts::negative);
  const auto pointer = [](const Tensor& t) { return t ? t.data() : nullptr; };

  RelevanceGate gate{.bias = options_.bias,
                     .gamma = options_.gamma,
                     .alpha = options_.alpha,
                     .beta = options_.beta,
                     .epsilon = epsilon,
                     .n = n,
                     .channels = channels,
                     .count = count,
                     .c = sum.c.data(),
                     .v = sum.v.data(),
                     .b = pointer(b),
                     .bp = pointer(bp),
                     .bn = pointer(bn)};
  const Shape& shape = node.value.shape();
  Tensor p, q, s(device, shape), f, s2, f2;
  gate.s = s.data();
  const auto give = [&](Tensor& t, float*& to) {
    t = Tensor(device, shape);
    to = t.data();
  };
  std::vector<Term> terms;
  const bool spread = options_.bias == BiasPolicy::spread && b;
  // With `ignore` the sign of the bias-free sum decides, and that can be negative under an open ReLU.
  const bool two_signs = sum.signed_value || options_.bias == BiasPolicy::ignore;
  switch (rule) {
    case LayerRule::epsilon: {
      gate.rule = GateRule::epsilon;
      terms.push_back({parts::all, s});
      if (spread) {
        // What supports a sum that cannot be negative are its positive products; else all, by their size. A sum of one has
        // nobody else to hand the bias's share to.
        const PartKey support = sum.signed_value || one_product(node) ? parts::absolute : parts::positive;
        p = products(walk, sum, support);
        gate.positive = p.data();
        give(f, gate.f);
        terms.push_back({support, f});
      }
      break;
    }
    case LayerRule::z_plus:
      // Spreading the bias's share over the positive products is dividing by those alone.
      gate.rule = GateRule::ratio;
      p = products(walk, sum, parts::positive);
      gate.positive = p.data();
      terms.push_back({parts::positive, s});
      break;
    case LayerRule::gamma: {
      gate.rule = GateRule::gamma;
      p = products(walk, sum, parts::positive);
      gate.positive = p.data();
      if (two_signs) {
        q = products(walk, sum, parts::negative);
        gate.negative = q.data();
        give(s2, gate.s2);
      }
      if (spread) {
        give(f, gate.f);
        terms.push_back({parts::all, s});
        terms.push_back({parts::positive, f});
        if (two_signs) {
          give(f2, gate.f2);
          terms.push_back({parts::all, s2});
          terms.push_back({parts::negative, f2});
        }
      } else {
        // Without biases there is nothing to spread, and nothing is absorbed either.
        if (options_.bias == BiasPolicy::spread) gate.bias = BiasPolicy::absorb;
        terms.push_back({{1, options_.gamma, 0}, s});
        if (two_signs) terms.push_back({{1, 0, options_.gamma}, s2});
      }
      break;
    }
    case LayerRule::alpha_beta:
      gate.rule = GateRule::alpha_beta;
      p = products(walk, sum, parts::positive);
      q = products(walk, sum, parts::negative);
      gate.positive = p.data();
      gate.negative = q.data();
      give(s2, gate.s2);
      terms.push_back({parts::positive, s});
      terms.push_back({parts::negative, s2});
      break;
    default:
      break;
  }
  gate.sums = keeper_.gate_sums(walk, count);
  device.kernels().relevance_gate(gate, device.stream());
  keeper_.gate_done(walk, count);
  send(walk, sum, terms);
}

}  // namespace retrace
