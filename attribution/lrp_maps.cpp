// The ways into a linear sum and back out of it: what LrpRule's rules are made of.
#include "attribution/lrp_maps.h"

namespace retrace {

using namespace kernels;

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

// The sum over all arms of their positive, negative or absolute products, without bias.
Tensor LrpRule::products(Walk& walk, const Sum& sum, PartKey key) const {
  Tensor y(walk.device(), sum.v.shape()), skip;
  const float* before = nullptr;
  for (const Arm& arm : sum.arms) {
    if (arm.map_node != no_node) continue;
    const Node& from = walk.node(arm.from);
    if (from.nonnegative) {
      if (key.positive > 0) before = from.value.data();
    } else {
      // The identity is a positive weight of 1: its products are the value itself.
      skip = Tensor(walk.device(), from.value.shape());
      walk.device().kernels().weight_part(
          {skip.size(), from.value.data(), key.all, key.positive, key.negative, skip.data()},
          walk.device().stream());
      before = skip.data();
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

void LrpRule::send(Walk& walk, const Sum& sum, const std::vector<Term>& terms) {
  for (const Arm& arm : sum.arms) {
    if (!walk.needed(arm.from)) continue;
    keeper_.before(walk, arm.from);
    if (arm.map_node == no_node) {
      send_as_it_is(walk, arm.from, terms);
    } else if (walk.node(arm.from).nonnegative) {
      for (const Term& term : terms) {
        auto sink = walk.sink(arm.from, false);
        run_back(walk, arm.map_node, term.signal, walk.node(arm.map_node).map->weight(term.weights), 1,
                 nullptr, Part::all, sink);
        walk.commit(std::move(sink));
      }
    } else {
      send_to_signed(walk, arm, terms);
    }
    keeper_.after(walk, arm.from);
  }
}

// The identity is a positive weight of 1.
void LrpRule::send_as_it_is(Walk& walk, NodeId to, const std::vector<Term>& terms) {
  const Node& from = walk.node(to);
  Tensor total;
  for (const Term& term : terms) {
    const PartKey& w = term.weights;
    const float at_positive = w.all + w.positive;
    // Under a negative value the products change their sign; of |x| · |w|, relevance per unit is negative there.
    const float at_negative = from.nonnegative ? 0 : w == parts::absolute ? -1 : w.all + w.negative;
    if (at_positive == 0 && at_negative == 0) continue;
    const bool everywhere = from.nonnegative || at_positive == at_negative;
    if (!total && everywhere && at_positive == 1) {
      total = term.signal;
      continue;
    }
    Tensor next(walk.device(), term.signal.shape());
    const float* const before = total ? total.data() : nullptr;
    if (everywhere) {
      walk.device().kernels().combine({next.size(), at_positive, 1, term.signal.data(), before, next.data()},
                                      walk.device().stream());
    } else {
      walk.device().kernels().sign_select(
          {next.size(), from.value.data(), at_positive, at_negative, term.signal.data(), before, next.data()},
          walk.device().stream());
    }
    total = next;
  }
  if (total) walk.pass(to, total);
}

// Where the values that a map reads can be negative: under a clamped weight the positive and the negative ones go back
// through opposite halves. Times the value at the network's input, where the signal turns into relevance; elsewhere times
// its sign, and nothing is divided by a value.
void LrpRule::send_to_signed(Walk& walk, const Arm& arm, const std::vector<Term>& terms) {
  const Node& node = walk.node(arm.map_node);
  const Node& from = walk.node(arm.from);
  const bool is_input = from.op == Op::input;
  Tensor sign;
  const auto multiplier = [&] {
    if (is_input) return from.value.data();
    if (!sign) {
      sign = Tensor(walk.device(), from.value.shape());
      walk.device().kernels().sign_select(
          {sign.size(), from.value.data(), 1, -1, nullptr, nullptr, sign.data()}, walk.device().stream());
    }
    return sign.data();
  };
  for (const Term& term : terms) {
    const auto back = [&](PartKey key, Part part, float alpha, const float* multiply) {
      auto sink = walk.sink(arm.from, false);
      run_back(walk, arm.map_node, term.signal, node.map->weight(key), alpha, multiply, part, sink);
      walk.commit(std::move(sink));
    };
    // min(x, 0) is a negative value's own, and minus one for its sign.
    const float negative = is_input ? 1.0f : -1.0f;
    if (term.weights.positive == 0 && term.weights.negative == 0) {
      back(term.weights, Part::all, 1, is_input ? multiplier() : nullptr);
    } else if (term.weights == parts::absolute) {
      back(parts::absolute, Part::positive, 1, multiplier());
      back(parts::absolute, Part::negative, -negative, multiplier());
    } else {
      back(term.weights, Part::positive, 1, multiplier());
      back(mirrored(term.weights), Part::negative, negative, multiplier());
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
