// A tape once more in float64, as the definitions read: every output unit lists what contributes to it, and a rule
// says what each contribution gets. Slow, and independent of the kernels' c form: it propagates R itself.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "attribution/lrp.h"
#include "engine/tape.h"

namespace retrace::reference {

using Values = std::vector<double>;

struct Contribution {
  int arm;            // which of the sum's arms
  std::size_t index;  // in that arm's source, flat
  double x, w;
};

class TapeReference {
 public:
  // Runs every node of `tape` again from its input.
  explicit TapeReference(const Tape& tape) : tape_(tape), values_(std::size_t(tape.size())) {
    for (NodeId id = 0; id < tape.size(); ++id) values_[std::size_t(id)] = forward(id);
  }

  const Values& value(NodeId id) const { return values_[std::size_t(id)]; }

  // d (seed · value(from)) / d value(node), for every node.
  std::vector<Values> gradient(NodeId from, const Values& seed) const {
    auto signals = zeros();
    signals[std::size_t(from)] = seed;
    for (NodeId id = from; id > 0; --id) {
      const Node& node = tape_.node(id);
      Values dz = signals[std::size_t(id)];
      if (node.relu) {
        for (std::size_t j = 0; j < dz.size(); ++j) {
          dz[j] = value(id)[j] > 0 && value(id)[j] < double(node.ceiling) ? dz[j] : 0;
        }
      }
      const std::vector<Arm> arms = own_arms(id);
      each_output(id, arms, [&](std::size_t j, const std::vector<Contribution>& list) {
        for (const Contribution& c : list)
          signals[std::size_t(arms[std::size_t(c.arm)].from)][c.index] += c.w * dz[j];
      });
      if (node.residual != no_node) {
        for (std::size_t j = 0; j < dz.size(); ++j) signals[std::size_t(node.residual)][j] += dz[j];
      }
    }
    return signals;
  }

  // The relevance at the input, from `seed` at node `from`, in the R form of the rules.
  Values relevance(NodeId from, const Values& seed, const LrpOptions& o) const {
    auto r = zeros();
    r[std::size_t(from)] = seed;
    for (NodeId id = from; id > 0; --id) propagate(id, r, o);
    return r[0];
  }

 private:
  struct Arm {
    NodeId from, map_node;
  };
  using Visit = std::function<void(std::size_t, const std::vector<Contribution>&)>;

  std::vector<Values> zeros() const {
    std::vector<Values> all;
    for (const Values& v : values_) all.emplace_back(v.size(), 0.0);
    return all;
  }

  static std::vector<double> doubles(const Tensor& t) {
    if (!t) return {};
    const auto host = t.to_host();
    return {host.begin(), host.end()};
  }

  // What a node reads but for a residual.
  std::vector<Arm> own_arms(NodeId id) const {
    const Node& node = tape_.node(id);
    std::vector<Arm> arms{{node.x, id}};
    for (const NodeId part : node.more) arms.push_back({part, id});
    return arms;
  }

  // Calls visit(j, contributions) for each output unit of the linear (or pooling, or copying) ops.
  void each_output(NodeId id, const std::vector<Arm>& arms, const Visit& visit) const {
    const Node& out = tape_.node(id);
    const Shape& shape = out.value.shape();
    std::vector<std::vector<double>> weights;
    for (const Arm& arm : arms) {
      const bool has_map = arm.map_node != no_node && tape_.node(arm.map_node).map;
      weights.push_back(has_map ? doubles(tape_.node(arm.map_node).map->weight()) : Values{});
    }
    const std::size_t total = std::size_t(out.value.size());
    std::vector<Contribution> list;
    for (std::size_t j = 0; j < total; ++j) {
      list.clear();
      for (std::size_t a = 0; a < arms.size(); ++a)
        contributions(arms[a], int(a), weights[a], shape, j, list);
      visit(j, list);
    }
  }

  void contributions(const Arm& arm, int number, const Values& weight, const Shape& shape, std::size_t j,
                     std::vector<Contribution>& list) const {
    const Values& x = value(arm.from);
    const Shape& in = tape_.node(arm.from).value.shape();
    const auto push = [&](std::size_t i, double w) { list.push_back({number, i, x[i], w}); };
    if (arm.map_node == no_node) return push(j, 1);
    const Node& node = tape_.node(arm.map_node);
    const std::int64_t K = shape.back(), k = std::int64_t(j) % K;
    const std::int64_t pixel = std::int64_t(j) / K,
                       image = std::int64_t(j) / (std::int64_t(value_size(shape)));
    const auto at = [&](std::int64_t h, std::int64_t w, std::int64_t c) {
      return std::size_t(((image * in[1] + h) * in[2] + w) * in[3] + c);
    };
    switch (node.op) {
      case Op::conv2d: {
        const auto& d = node.conv;
        const std::int64_t q = pixel % shape[2], p = pixel / shape[2] % shape[1], C = d.c / d.groups;
        const std::int64_t first = k / (d.k / d.groups) * C;
        for (int r = 0; r < d.r; ++r) {
          for (int s = 0; s < d.s; ++s) {
            const std::int64_t h = p * d.stride_h - d.pad_h + r * d.dilation_h;
            const std::int64_t w = q * d.stride_w - d.pad_w + s * d.dilation_w;
            if (h < 0 || h >= d.h || w < 0 || w >= d.w) continue;
            for (std::int64_t c = 0; c < C; ++c) {
              push(at(h, w, first + c), weight[std::size_t(((k * d.r + r) * d.s + s) * C + c)]);
            }
          }
        }
        return;
      }
      case Op::linear: {
        const std::int64_t C = node.map->weight().dim(1);
        for (std::int64_t c = 0; c < C; ++c) push(std::size_t(image * C + c), weight[std::size_t(k * C + c)]);
        return;
      }
      case Op::max_pool:
      case Op::avg_pool: {
        const auto& d = node.pool;
        const std::int64_t q = pixel % shape[2], p = pixel / shape[2] % shape[1];
        std::vector<std::size_t> window;
        for (int r = 0; r < d.r; ++r) {
          for (int s = 0; s < d.s; ++s) {
            const std::int64_t h = p * d.stride_h - d.pad_h + r, w = q * d.stride_w - d.pad_w + s;
            if (h >= 0 && h < d.h && w >= 0 && w < d.w) window.push_back(at(h, w, k));
          }
        }
        if (node.op == Op::max_pool) {
          return push(
              *std::max_element(window.begin(), window.end(), [&](auto a, auto b) { return x[a] < x[b]; }),
              1);
        }
        const double count = node.count_include_pad ? d.r * d.s : double(window.size());
        for (const std::size_t i : window) push(i, 1 / count);
        return;
      }
      case Op::adaptive_avg_pool: {
        const std::int64_t q = pixel % shape[2], p = pixel / shape[2] % shape[1];
        const std::int64_t top = p * in[1] / shape[1], bottom = ((p + 1) * in[1] + shape[1] - 1) / shape[1];
        const std::int64_t left = q * in[2] / shape[2], right = ((q + 1) * in[2] + shape[2] - 1) / shape[2];
        const double size = double((bottom - top) * (right - left));
        for (std::int64_t h = top; h < bottom; ++h) {
          for (std::int64_t w = left; w < right; ++w) push(at(h, w, k), 1 / size);
        }
        return;
      }
      case Op::concat: {
        std::int64_t offset = 0;
        const std::vector<Arm> parts = own_arms(arm.map_node);
        for (int i = 0; i < number; ++i)
          offset += tape_.node(parts[std::size_t(i)].from).value.shape().back();
        if (k >= offset && k < offset + in.back()) push(std::size_t(pixel * in.back() + k - offset), 1);
        return;
      }
      case Op::global_avg_pool:
        for (std::int64_t h = 0; h < in[1]; ++h) {
          for (std::int64_t w = 0; w < in[2]; ++w) push(at(h, w, k), 1.0 / double(in[1] * in[2]));
        }
        return;
      case Op::shortcut: {
        const std::int64_t q = pixel % shape[2], p = pixel / shape[2] % shape[1], c = k - (K - in[3]) / 2;
        if (c >= 0 && c < in[3]) push(at(p * node.stride, q * node.stride, c), 1);
        return;
      }
      default:
        return push(j, 1);  // relu, add
    }
  }
  static std::size_t value_size(const Shape& shape) {
    std::size_t size = 1;
    for (std::size_t i = 1; i < shape.size(); ++i) size *= std::size_t(shape[i]);
    return size;
  }

  Values forward(NodeId id) const {
    const Node& node = tape_.node(id);
    if (node.op == Op::input) return doubles(node.value);
    Values y(std::size_t(node.value.size()));
    const Values bias = node.map ? doubles(node.map->bias()) : Values{};
    each_output(id, own_arms(id), [&](std::size_t j, const std::vector<Contribution>& list) {
      double sum = bias.empty() ? 0 : bias[j % bias.size()];
      for (const Contribution& c : list) sum += c.x * c.w;
      if (node.residual != no_node) sum += value(node.residual)[j];
      y[j] = node.relu ? std::min(std::max(sum, 0.0), double(node.ceiling)) : sum;
    });
    return y;
  }

  static double stab(double z, double epsilon) { return z >= 0 ? z + epsilon : z - epsilon; }
  static double ratio(double r, double d) { return d == 0 ? 0 : r / d; }

  void propagate(NodeId id, std::vector<Values>& r, const LrpOptions& o) const {
    const Node& node = tape_.node(id);
    const double eps = o.epsilon_value();
    Values relevance = r[std::size_t(id)];
    const auto give = [&](NodeId to, std::size_t i, double amount) { r[std::size_t(to)][i] += amount; };
    if (node.op == Op::relu || node.op == Op::max_pool || node.op == Op::shortcut || node.op == Op::concat) {
      const std::vector<Arm> arms = own_arms(id);
      each_output(id, arms, [&](std::size_t j, const std::vector<Contribution>& list) {
        for (const Contribution& c : list) give(arms[std::size_t(c.arm)].from, c.index, relevance[j]);
      });
      return;
    }
    if (!node.map) {  // sums and averages: the norm rule
      std::vector<Arm> arms{{node.x, id}};
      if (node.residual != no_node) arms.push_back({node.residual, no_node});
      each_output(id, arms, [&](std::size_t j, const std::vector<Contribution>& list) {
        double z = 0;
        for (const Contribution& c : list) z += c.x * c.w;
        for (const Contribution& c : list) {
          give(arms[std::size_t(c.arm)].from, c.index, c.x * c.w * ratio(relevance[j], stab(z, eps)));
        }
      });
      return;
    }
    std::vector<Arm> arms{{node.x, id}};
    Values z = value(id);
    bool can_be_negative = !node.relu;
    if (node.residual != no_node) {
      const Node& skip = tape_.node(node.residual);
      if (o.residual == ResidualPolicy::joint) {
        if (skip.map && !skip.relu && skip.residual == no_node && tape_.consumers(node.residual) == 1) {
          arms.push_back({skip.x, node.residual});
          r[std::size_t(node.residual)].assign(r[std::size_t(node.residual)].size(), 0);
        } else {
          arms.push_back({node.residual, no_node});
        }
      } else {
        const Values bias = doubles(node.map->bias());
        each_output(id, arms, [&](std::size_t j, const std::vector<Contribution>& list) {
          double own = bias.empty() ? 0 : bias[j % bias.size()];
          for (const Contribution& c : list) own += c.x * c.w;
          const double s = ratio(relevance[j], stab(value(id)[j], eps));
          give(node.residual, j, value(node.residual)[j] * s);
          relevance[j] = own * s;
          z[j] = own;
        });
        can_be_negative = true;
      }
    }
    const bool at_input = tape_.node(node.x).op == Op::input;
    const bool one_product =
        node.op == Op::conv2d && node.conv.groups == node.conv.c && node.conv.r * node.conv.s == 1;
    const LayerRule rule = node.op == Op::linear ? o.linear
                           : one_product         ? LayerRule::epsilon
                           : at_input            ? o.first
                                                 : o.conv;
    std::vector<Values> biases;
    for (const Arm& arm : arms) {
      biases.push_back(arm.map_node == no_node ? Values{} : doubles(tape_.node(arm.map_node).map->bias()));
    }
    each_output(id, arms, [&](std::size_t j, const std::vector<Contribution>& list) {
      const double rj = relevance[j];
      if (rj == 0) return;
      double b = 0, bp = 0, bn = 0, p = 0, n = 0, size = 0;
      for (const Values& bias : biases) {
        if (bias.empty()) continue;
        const double one = bias[j % bias.size()];
        b += one, bp += std::max(one, 0.0), bn += std::min(one, 0.0);
      }
      for (const Contribution& c : list) {
        p += std::max(c.x * c.w, 0.0), n += std::min(c.x * c.w, 0.0), size += std::abs(c.x * c.w);
      }
      const bool ignores = o.bias == BiasPolicy::ignore, spreads = o.bias == BiasPolicy::spread;
      const auto send = [&](const Contribution& c, double amount) {
        give(arms[std::size_t(c.arm)].from, c.index, amount);
      };
      const int channel_count = int(tape_.node(node.x).value.shape().back());
      switch (rule) {
        case LayerRule::epsilon: {
          const double d = stab(ignores ? z[j] - b : z[j], eps), s = ratio(rj, d);
          for (const Contribution& c : list) {
            send(c, c.x * c.w * s);
            if (!spreads) continue;
            const bool by_size = can_be_negative || one_product;
            const double support = by_size ? std::abs(c.x * c.w) : std::max(c.x * c.w, 0.0);
            send(c, ratio(support, by_size ? size : p) * b * s);
          }
          break;
        }
        case LayerRule::gamma: {
          const double base = ignores ? z[j] - b : z[j];
          if (base == 0) break;
          const bool up = base > 0;
          const double clamped = ignores ? 0 : up ? bp : bn, part_sum = up ? p : n;
          const double d = stab(base + o.gamma * (part_sum + clamped), eps), s = ratio(rj, d);
          for (const Contribution& c : list) {
            const double part = up ? std::max(c.x * c.w, 0.0) : std::min(c.x * c.w, 0.0);
            send(c, (c.x * c.w + o.gamma * part) * s);
            if (spreads) send(c, ratio(part, part_sum) * (b + o.gamma * clamped) * s);
          }
          break;
        }
        case LayerRule::z_plus: {
          const double s = ratio(rj, stab(p + (o.bias == BiasPolicy::absorb ? bp : 0), eps));
          for (const Contribution& c : list) send(c, std::max(c.x * c.w, 0.0) * s);
          break;
        }
        case LayerRule::alpha_beta: {
          const bool absorbs = o.bias == BiasPolicy::absorb;
          const double sp = ratio(o.alpha * rj, stab(p + (absorbs ? bp : 0), eps));
          const double sn = ratio(o.beta * rj, stab(n + (absorbs ? bn : 0), eps));
          for (const Contribution& c : list) {
            send(c, std::max(c.x * c.w, 0.0) * sp - std::min(c.x * c.w, 0.0) * sn);
          }
          break;
        }
        case LayerRule::flat:
        case LayerRule::w_square:
        case LayerRule::z_box: {
          const auto part = [&](const Contribution& c) {
            if (rule == LayerRule::flat) return 1.0;
            if (rule == LayerRule::w_square) return c.w * c.w;
            const std::size_t channel = c.index % std::size_t(channel_count);
            return c.x * c.w - o.low[channel] * std::max(c.w, 0.0) - o.high[channel] * std::min(c.w, 0.0);
          };
          double sum = 0;
          for (const Contribution& c : list) sum += part(c);
          const double s = ratio(rj, stab(sum, eps));
          for (const Contribution& c : list) send(c, part(c) * s);
          break;
        }
      }
    });
  }

  const Tape& tape_;
  std::vector<Values> values_;
};

}  // namespace retrace::reference
