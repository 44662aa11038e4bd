#include "attribution/lrp.h"

#include <utility>

namespace retrace {

using namespace kernels;

// A linear sum with everything that meets in it: what a rule is applied to.
struct LrpRule::Sum {
  NodeId node;
  std::vector<Arm> arms;
  Tensor c, v;        // relevance per unit, and the value it is per unit of
  bool signed_value;  // v can be negative
};

namespace {

// Runs a linear node's map with other weights: y = part(x) · w (+ bias) (+ residual).
void run_map(Walk& walk, NodeId map_node, const Tensor& x, Part part, float alpha, const Tensor& w,
             const Tensor* bias, const float* residual, const Tensor& y) {
  const Node& node = walk.node(map_node);
  const Stream stream = walk.device().stream();
  const float* const b = bias && *bias ? bias->data() : nullptr;
  if (node.op == Op::conv2d) {
    walk.device().kernels().conv2d_fprop({.shape = node.conv,
                                          .x = x.data(),
                                          .part = part,
                                          .w = w.data(),
                                          .alpha = alpha,
                                          .bias = b,
                                          .residual = residual,
                                          .y = y.data()},
                                         stream);
  } else {
    walk.device().kernels().linear_fprop({.n = int(y.dim(0)),
                                          .c = int(w.dim(1)),
                                          .k = int(w.dim(0)),
                                          .x = x.data(),
                                          .part = part,
                                          .w = w.data(),
                                          .alpha = alpha,
                                          .bias = b,
                                          .residual = residual,
                                          .y = y.data()},
                                         stream);
  }
}

// dx = alpha · part(multiply) ⊙ mapᵀ(s) + pending
void run_back(Walk& walk, NodeId map_node, const Tensor& s, const Tensor& w, float alpha,
              const float* multiply, Part part, const Walk::Sink& sink) {
  const Node& node = walk.node(map_node);
  const Stream stream = walk.device().stream();
  if (node.op == Op::conv2d) {
    walk.device().kernels().conv2d_dgrad({.shape = node.conv,
                                          .dy = {s.data()},
                                          .w = w.data(),
                                          .alpha = alpha,
                                          .multiply = multiply,
                                          .part = part,
                                          .epilogue = sink.epilogue,
                                          .dx = sink.out.data()},
                                         stream);
  } else {
    walk.device().kernels().linear_dgrad({.n = int(s.dim(0)),
                                          .c = int(w.dim(1)),
                                          .k = int(w.dim(0)),
                                          .dy = {s.data()},
                                          .w = w.data(),
                                          .alpha = alpha,
                                          .multiply = multiply,
                                          .part = part,
                                          .epilogue = sink.epilogue,
                                          .dx = sink.out.data()},
                                         stream);
  }
}

PartKey mirrored(PartKey key) {
  return {key.all, key.negative, key.positive};
}

}  // namespace

LrpRule::LrpRule(LrpOptions options) : options_(std::move(options)) {
  check(options_);
}

void LrpRule::begin(Walk& walk) {
  keeper_.begin(walk);
}

LayerRule LrpRule::rule_for(const Walk& walk, NodeId id) const {
  const Node& node = walk.node(id);
  if (node.op == Op::linear) return options_.linear;
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
  if (node.op == Op::add || node.op == Op::avg_pool || node.op == Op::global_avg_pool) return norm(walk, id);
  // ReLU, max-pool, option-A shortcut: relevance passes as a gradient does.
  keeper_.row(walk, id, "pass");
  const Tensor c = walk.gated_signal(id);
  keeper_.entering(walk, id, c);
  keeper_.before(walk, node.x);
  propagate_plain(walk, id, c);
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

// The skip connection as an arm of the block's tail, if it is one linear map with it: a value that cannot be
// negative and joins as it is, or a downsampling convolution that nobody else reads.
std::optional<LrpRule::Arm> LrpRule::joint_arm(const Walk& walk, NodeId residual) const {
  const Node& skip = walk.node(residual);
  if (skip.nonnegative) return Arm{residual, no_node};
  if ((skip.op == Op::conv2d || skip.op == Op::linear) && !skip.relu && skip.residual == no_node &&
      walk.node(skip.x).nonnegative && walk.tape().consumers(residual) == 1) {
    return Arm{skip.x, residual};
  }
  return std::nullopt;
}

// The sum over all arms of their positive, negative or absolute products, without bias.
Tensor LrpRule::products(Walk& walk, const Sum& sum, PartKey key) const {
  Tensor y(walk.device(), sum.v.shape());
  const float* before = nullptr;
  if (key.positive > 0) {  // a nonnegative skip counts among the positive products
    for (const Arm& arm : sum.arms) {
      if (arm.map_node == no_node) before = walk.node(arm.from).value.data();
    }
  }
  for (const Arm& arm : sum.arms) {
    if (arm.map_node == no_node) continue;
    const Node& from = walk.node(arm.from);
    const LinearMap& map = *walk.node(arm.map_node).map;
    if (from.nonnegative) {
      run_map(walk, arm.map_node, from.value, Part::all, 1, map.weight(key), nullptr, before, y);
    } else {
      // A negative value turns the products' signs; |w| must meet |x|.
      const bool absolute = key == parts::absolute;
      run_map(walk, arm.map_node, from.value, Part::positive, 1, map.weight(key), nullptr, before, y);
      run_map(walk, arm.map_node, from.value, Part::negative, absolute ? -1.0f : 1.0f,
              map.weight(absolute ? key : mirrored(key)), nullptr, y.data(), y);
    }
    before = y.data();
  }
  return y;
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
    const auto arm =
        options_.residual == ResidualPolicy::joint ? joint_arm(walk, node.residual) : std::nullopt;
    if (arm) {
      sum.arms.push_back(*arm);
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
        // What supports a sum that cannot be negative are its positive products; else all, by their size.
        const PartKey support = sum.signed_value ? parts::absolute : parts::positive;
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

void LrpRule::send(Walk& walk, const Sum& sum, const std::vector<Term>& terms) {
  for (const Arm& arm : sum.arms) {
    if (!walk.needed(arm.from)) continue;
    const Node& from = walk.node(arm.from);
    keeper_.before(walk, arm.from);
    if (arm.map_node == no_node) {
      // The identity is a positive weight of 1.
      Tensor total;
      for (const Term& term : terms) {
        const float a = term.weights.all + term.weights.positive;
        if (a == 0) continue;
        if (!total && a == 1) {
          total = term.signal;
          continue;
        }
        Tensor next(walk.device(), term.signal.shape());
        walk.device().kernels().combine(
            {next.size(), a, 1, term.signal.data(), total ? total.data() : nullptr, next.data()},
            walk.device().stream());
        total = next;
      }
      if (total) walk.pass(arm.from, total);
    } else if (from.op == Op::input) {
      send_to_input(walk, arm.map_node, terms);
    } else {
      if (!from.nonnegative) {
        throw Error("layer " + walk.node(arm.map_node).name + ": relevance through a layer whose input (" +
                    from.name + ") can be negative is only defined here at the network's own input");
      }
      for (const Term& term : terms) {
        auto sink = walk.sink(arm.from, false);
        run_back(walk, arm.map_node, term.signal, walk.node(arm.map_node).map->weight(term.weights), 1,
                 nullptr, Part::all, sink);
        walk.commit(std::move(sink));
      }
    }
    keeper_.after(walk, arm.from);
  }
}

// At the input the signal turns into relevance. Pixels are signed: under a clamped weight the positive and the
// negative ones go back through opposite halves.
void LrpRule::send_to_input(Walk& walk, NodeId map_node, const std::vector<Term>& terms) {
  const Node& node = walk.node(map_node);
  const float* const x = walk.node(node.x).value.data();
  for (const Term& term : terms) {
    const auto back = [&](PartKey key, Part part, float alpha) {
      auto sink = walk.sink(node.x, false);
      run_back(walk, map_node, term.signal, node.map->weight(key), alpha, x, part, sink);
      walk.commit(std::move(sink));
    };
    if (term.weights.positive == 0 && term.weights.negative == 0) {
      back(term.weights, Part::all, 1);
    } else if (term.weights == parts::absolute) {
      back(parts::absolute, Part::positive, 1);
      back(parts::absolute, Part::negative, -1);
    } else {
      back(term.weights, Part::positive, 1);
      back(mirrored(term.weights), Part::negative, 1);
    }
  }
}

// Rules that look at the pixels' range, or not at the pixels at all.
void LrpRule::first_layer(Walk& walk, const Sum& sum, LayerRule rule) {
  const Node& node = walk.node(sum.node);
  if (walk.node(node.x).op != Op::input) {
    throw Error("layer " + node.name + ": " + layer_rule_name(rule) + " is a rule for the first layer only");
  }
  Device& device = walk.device();
  const Tensor& x = walk.node(node.x).value;
  const LinearMap& map = *node.map;
  const Tensor *weights = nullptr, *weights_low = nullptr, *weights_high = nullptr;
  Tensor low, high, d(device, sum.v.shape()), s(device, sum.v.shape());
  if (rule == LayerRule::z_box) {
    weights = &map.weight();
    weights_low = &map.weight(parts::positive);
    weights_high = &map.weight(parts::negative);
    const auto constant = [&](const std::array<float, 4>& values) {
      const std::int64_t channels = x.shape().back();
      if (channels > std::int64_t(values.size())) throw Error("z-box: a picture has at most 4 channels");
      std::vector<float> host(std::size_t(x.size()));
      for (std::size_t i = 0; i < host.size(); ++i) host[i] = values[i % std::size_t(channels)];
      return Tensor::from_host(device, x.shape(), host);
    };
    low = constant(options_.low);
    high = constant(options_.high);
    run_map(walk, sum.node, x, Part::all, 1, *weights, nullptr, nullptr, d);
    run_map(walk, sum.node, low, Part::all, -1, *weights_low, nullptr, d.data(), d);
    run_map(walk, sum.node, high, Part::all, -1, *weights_high, nullptr, d.data(), d);
  } else {
    weights = rule == LayerRule::flat ? &map.ones() : &map.squared();
    Tensor ones(device, x.shape());
    device.kernels().fill({ones.size(), 1.0f, ones.data()}, device.stream());
    run_map(walk, sum.node, ones, Part::all, 1, *weights, nullptr, nullptr, d);
  }
  const int n = int(sum.v.dim(0));
  const long long count = sum.v.size() / n;
  device.kernels().relevance_gate({.rule = GateRule::ratio,
                                   .bias = BiasPolicy::ignore,
                                   .epsilon = options_.epsilon_value(),
                                   .n = n,
                                   .channels = int(sum.v.shape().back()),
                                   .count = count,
                                   .c = sum.c.data(),
                                   .v = sum.v.data(),
                                   .positive = d.data(),
                                   .s = s.data(),
                                   .sums = keeper_.gate_sums(walk, count)},
                                  device.stream());
  keeper_.gate_done(walk, count);
  keeper_.before(walk, node.x);
  const auto back = [&](const Tensor& w, float alpha, const float* multiply) {
    auto sink = walk.sink(node.x, false);
    run_back(walk, sum.node, s, w, alpha, multiply, Part::all, sink);
    walk.commit(std::move(sink));
  };
  if (rule == LayerRule::z_box) {
    back(*weights, 1, x.data());
    back(*weights_low, -1, low.data());
    back(*weights_high, -1, high.data());
  } else {
    back(*weights, 1, nullptr);
  }
  keeper_.after(walk, node.x);
}

}  // namespace retrace
