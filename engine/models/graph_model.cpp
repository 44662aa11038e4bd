// A NetGraph with its parameters on a device: for inference and explanation, and for training.
#include <fmt/format.h>

#include <cmath>

#include "engine/models/graph.h"
#include "weights/layout.h"

namespace retrace {

namespace {

using Map = std::shared_ptr<const LinearMap>;

ConvGeometry geometry(const LayerPlan& l) {
  return {.stride_h = l.stride, .stride_w = l.stride, .pad_h = l.pad, .pad_w = l.pad, .groups = l.groups};
}

// Batch norm's scale, bias, mean and variance as a convolution of 1 x 1 in as many groups as channels.
Map norm_map(Device& device, const std::string& name, const ParameterValue* parts) {
  const std::size_t K = parts[0].values.size();
  std::vector<float> weight(K), bias(K);
  for (std::size_t k = 0; k < K; ++k) {
    const double scale = parts[0].values[k] / std::sqrt(double(parts[3].values[k]) + batch_norm_epsilon);
    weight[k] = float(scale);
    bias[k] = float(parts[1].values[k] - scale * parts[2].values[k]);
  }
  const auto n = std::int64_t(K);
  return std::make_shared<LinearMap>(name, Tensor::from_host(device, {n, 1, 1, 1}, weight),
                                     Tensor::from_host(device, {n}, bias));
}

class GraphModel final : public Model {
 public:
  GraphModel(Device& device, ModelInfo info, NetGraph graph, bool folded,
             const std::vector<ParameterValue>& values)
      : Model(std::move(info)), graph_(std::move(graph)) {
    const int classes = graph_.head().out;
    if (classes != info_.classes) info_.labels.clear();  // somebody else's head
    info_.classes = classes;
    std::size_t next = 0;
    for (const int index : graph_.listed) {
      const LayerPlan& l = graph_.layers[std::size_t(index)];
      if (l.kind == LayerKind::norm) {
        maps_[l.module] = norm_map(device, l.module, &values.at(next));
        next += 4;
        continue;
      }
      const ParameterValue& w = values.at(next++);
      const std::int64_t K = w.shape[0];
      Tensor weight, bias;
      if (l.kind == LayerKind::conv) {
        const std::int64_t C = w.shape[1], R = w.shape[2], S = w.shape[3];
        weight = Tensor::from_host(device, {K, R, S, C}, weights::kcrs_to_krsc(w.values, K, C, R, S));
      } else if (l.size > 1) {
        weight = Tensor::from_host(device, w.shape, weights::kcrs_to_krsc(w.values, K, l.in, l.size, l.size));
      } else {
        weight = Tensor::from_host(device, w.shape, w.values);
      }
      const bool norm_behind = !l.norm.empty() && !folded;
      if (l.bias || (folded && !l.norm.empty()))
        bias = Tensor::from_host(device, {K}, values.at(next++).values);
      maps_[l.module] = std::make_shared<LinearMap>(l.module, weight, bias);
      if (norm_behind) {
        norms_[l.module] = norm_map(device, l.norm, &values.at(next));
        next += 4;
      }
    }
  }

  NodeId forward(Tape& tape, NodeId input) const override {
    const auto conv = [&](const LayerPlan& l, NodeId x, const Fused& fused, const std::string& name) {
      const auto norm = norms_.find(l.module);
      if (norm == norms_.end()) return tape.conv2d(x, maps_.at(l.module), geometry(l), fused, name);
      return tape.conv2d(tape.conv2d(x, maps_.at(l.module), geometry(l), {}, name + ".unnormed"),
                         norm->second, {.groups = l.out}, fused, name);
    };
    const auto linear = [&](const LayerPlan& l, NodeId x, const Fused& fused, const std::string& name) {
      return tape.linear(x, maps_.at(l.module), fused, name);
    };
    return run_graph(graph_, tape, input, {conv, linear, conv});
  }

  std::string cam_layer() const override { return graph_.cam_layer; }

  NodeId layer(const Tape& tape, const std::string& name) const override {
    const auto other = graph_.stands_for.find(name);
    if (const NodeId id = tape.find(other == graph_.stands_for.end() ? name : other->second); id != no_node)
      return id;
    std::string known;
    for (NodeId id = 0; id < tape.size(); ++id) known += (id ? ", " : "") + tape.node(id).name;
    throw UsageError(fmt::format("layer '{}': model {} has {}", name, info_.name, known));
  }

 private:
  NetGraph graph_;
  std::map<std::string, Map> maps_;   // by their modules
  std::map<std::string, Map> norms_;  // by their convolutions' modules; none when folded
};

class TrainableGraph final : public TrainableNetwork {
 public:
  TrainableGraph(Device& device, NetGraph graph, const std::vector<ParameterValue>& values)
      : TrainableNetwork(device, graph_parameters(graph, false), values), graph_(std::move(graph)) {
    const auto value = [&](const std::string& name) { return parameters_.at(name).value; };
    const auto gradient = [&](const std::string& name) { return parameters_.at(name).gradient; };
    for (const int index : graph_.listed) {
      const LayerPlan& l = graph_.layers[std::size_t(index)];
      const std::string weight = l.module + ".weight", bias = l.module + ".bias";
      if (l.kind != LayerKind::norm) {
        auto map =
            std::make_shared<const LinearMap>(l.module, value(weight), l.bias ? value(bias) : Tensor());
        slots_[map.get()] = {gradient(weight), l.bias ? gradient(bias) : Tensor()};
        maps_[l.module] = std::move(map);
      }
      const std::string& norm = l.kind == LayerKind::norm ? l.module : l.norm;
      if (norm.empty()) continue;
      norms_[l.module] = std::make_shared<const BatchNorm>(
          BatchNorm{norm, value(norm + ".weight"), value(norm + ".bias"), value(norm + ".running_mean"),
                    value(norm + ".running_var")});
      slots_[norms_[l.module].get()] = {gradient(norm + ".weight"), gradient(norm + ".bias")};
    }
  }

  NodeId forward(Tape& tape, NodeId input, const DropoutPlan& dropout) const override {
    int dropouts = 0;
    const auto dropped = [&](const LayerPlan& l, NodeId x) {
      if (!l.dropout || dropout.p <= 0) return x;
      // Each its own stream of random numbers, the first the one it always was.
      DropoutPlan plan = dropout;
      plan.seed += std::uint64_t(dropouts) * 0x9e3779b97f4a7c15u;
      const std::string name = dropouts++ ? fmt::format("dropout.{}", dropouts) : "dropout";
      return tape.dropout(x, plan, name);
    };
    const auto conv = [&](const LayerPlan& l, NodeId x, const Fused& fused, const std::string& name) {
      x = dropped(l, x);
      const auto norm = norms_.find(l.module);
      if (norm == norms_.end()) return tape.conv2d(x, maps_.at(l.module), geometry(l), fused, name);
      return tape.batch_norm(tape.conv2d(x, maps_.at(l.module), geometry(l), {}, name + ".unnormed"),
                             norm->second, fused, name);
    };
    const auto linear = [&](const LayerPlan& l, NodeId x, const Fused& fused, const std::string& name) {
      return tape.linear(dropped(l, x), maps_.at(l.module), fused, name);
    };
    const auto norm = [&](const LayerPlan& l, NodeId x, const Fused& fused, const std::string& name) {
      return tape.batch_norm(x, norms_.at(l.module), fused, name);
    };
    return run_graph(graph_, tape, input, {conv, linear, norm});
  }

 private:
  NetGraph graph_;
  std::map<std::string, Map> maps_;
  std::map<std::string, std::shared_ptr<const BatchNorm>> norms_;  // by their layers' modules
};

}  // namespace

std::unique_ptr<Model> build_graph_model(Device& device, ModelInfo info, NetGraph graph, bool folded,
                                         const std::vector<ParameterValue>& values) {
  return std::make_unique<GraphModel>(device, std::move(info), std::move(graph), folded, values);
}

std::unique_ptr<TrainableNetwork> build_trainable_graph(Device& device, NetGraph graph,
                                                        const std::vector<ParameterValue>& values) {
  return std::make_unique<TrainableGraph>(device, std::move(graph), values);
}

}  // namespace retrace
