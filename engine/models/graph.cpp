#include "engine/models/graph.h"

#include <algorithm>
#include <utility>

#include "weights/fold_batch_norm.h"

namespace retrace {

namespace {

bool is_listed(LayerKind kind) {
  return kind == LayerKind::conv || kind == LayerKind::linear || kind == LayerKind::norm;
}

}  // namespace

int GraphBuilder::append(LayerPlan plan, int channels) {
  const int index = int(graph_.layers.size());
  if (is_listed(plan.kind)) graph_.listed.push_back(index);
  const bool keeps_size = plan.kind == LayerKind::relu || plan.kind == LayerKind::norm;
  sizes_.push_back(plan.kind == LayerKind::adaptive_avg_pool ? plan.size
                   : keeps_size                              ? sizes_.at(std::size_t(plan.x[0] + 1))
                                                             : 0);
  channels_.push_back(channels);
  graph_.layers.push_back(std::move(plan));
  return index;
}

int GraphBuilder::conv(int x, const Conv& c) {
  LayerPlan plan{.kind = LayerKind::conv, .name = c.name.empty() ? c.module : c.name, .x = {x}};
  plan.residual = c.residual;
  plan.activation = c.activation;
  plan.module = c.module;
  plan.norm = c.norm;
  plan.bias = c.bias;
  plan.in = channels(x);
  plan.out = c.out;
  plan.groups = c.groups;
  plan.dropout = c.dropout;
  plan.kernel = c.kernel;
  plan.stride = c.stride;
  plan.pad = c.pad;
  return append(std::move(plan), c.out);
}

int GraphBuilder::linear(int x, const std::string& module, int out, Activation activation, bool dropout) {
  LayerPlan plan{.kind = LayerKind::linear, .name = module, .x = {x}};
  plan.activation = activation;
  plan.module = module;
  plan.bias = true;
  plan.in = channels(x);
  plan.out = out;
  plan.dropout = dropout;
  plan.size = sizes_.at(std::size_t(x + 1));
  return append(std::move(plan), out);
}

int GraphBuilder::norm(int x, const std::string& module, Activation activation) {
  LayerPlan plan{.kind = LayerKind::norm, .name = module, .x = {x}};
  plan.activation = activation;
  plan.module = module;
  plan.in = plan.out = plan.groups = channels(x);
  return append(std::move(plan), channels(x));
}

int GraphBuilder::relu(int x, const std::string& name) {
  LayerPlan plan{.kind = LayerKind::relu, .name = name, .x = {x}};
  plan.activation = Activation::relu;
  return append(std::move(plan), channels(x));
}

int GraphBuilder::max_pool(int x, const std::string& name, int kernel, int stride, int pad, bool ceil_mode) {
  LayerPlan plan{.kind = LayerKind::max_pool, .name = name, .x = {x}};
  plan.kernel = kernel;
  plan.stride = stride;
  plan.pad = pad;
  plan.ceil_mode = ceil_mode;
  return append(std::move(plan), channels(x));
}

int GraphBuilder::avg_pool(int x, const std::string& name, int kernel, int stride) {
  LayerPlan plan{.kind = LayerKind::avg_pool, .name = name, .x = {x}};
  plan.kernel = kernel;
  plan.stride = stride;
  return append(std::move(plan), channels(x));
}

int GraphBuilder::global_avg_pool(int x, const std::string& name) {
  return append({.kind = LayerKind::global_avg_pool, .name = name, .x = {x}}, channels(x));
}

int GraphBuilder::adaptive_avg_pool(int x, const std::string& name, int size) {
  LayerPlan plan{.kind = LayerKind::adaptive_avg_pool, .name = name, .x = {x}};
  plan.size = size;
  return append(std::move(plan), channels(x));
}

int GraphBuilder::shortcut(int x, const std::string& name, int out, int stride) {
  LayerPlan plan{.kind = LayerKind::shortcut, .name = name, .x = {x}};
  plan.in = channels(x);
  plan.out = out;
  plan.stride = stride;
  return append(std::move(plan), out);
}

int GraphBuilder::concat(const std::vector<int>& x, const std::string& name) {
  int total = 0;
  for (const int part : x) total += channels(part);
  return append({.kind = LayerKind::concat, .name = name, .x = x}, total);
}

void GraphBuilder::list_last(int layer) {
  auto& listed = graph_.listed;
  listed.erase(std::find(listed.begin(), listed.end(), layer));
  listed.push_back(layer);
}

NetGraph GraphBuilder::finish(const std::string& cam_layer) {
  graph_.cam_layer = cam_layer;
  return std::move(graph_);
}

std::vector<ParameterSpec> graph_parameters(const NetGraph& graph, bool folded) {
  std::vector<ParameterSpec> specs;
  for (const int index : graph.listed) {
    const LayerPlan& l = graph.layers[std::size_t(index)];
    const auto batch_norm = [&](const std::string& module) {
      for (const char* part : norm_parts) specs.push_back({module + "." + part, {l.out}});
    };
    if (l.kind == LayerKind::norm) {
      batch_norm(l.module);
      continue;
    }
    if (l.kind == LayerKind::linear) {
      specs.push_back(
          {l.module + ".weight", {l.out, std::int64_t(l.in) * std::max(1, l.size * l.size)}, l.size});
    } else {
      specs.push_back({l.module + ".weight", {l.out, l.in / l.groups, l.kernel, l.kernel}});
    }
    const bool folds = folded && !l.norm.empty();
    if (l.bias || folds) specs.push_back({l.module + ".bias", {l.out}});
    if (!l.norm.empty() && !folded) batch_norm(l.norm);
  }
  return specs;
}

std::vector<ParameterValue> fold_graph(const NetGraph& graph, const std::vector<ParameterValue>& values) {
  std::vector<ParameterValue> folded;
  std::size_t next = 0;
  const auto copy = [&](int count) {
    while (count-- > 0) folded.push_back(values.at(next++));
  };
  for (const int index : graph.listed) {
    const LayerPlan& l = graph.layers[std::size_t(index)];
    if (l.kind == LayerKind::norm) {
      copy(4);
    } else if (l.norm.empty()) {
      copy(l.bias ? 2 : 1);
    } else {
      const ParameterValue& weight = values.at(next++);
      const std::vector<float> none, &own = l.bias ? values.at(next++).values : none;
      auto [w, b] = weights::fold_batch_norm(
          l.module + ".weight", weight.values, own,
          {values.at(next).values, values.at(next + 1).values, values.at(next + 2).values,
           values.at(next + 3).values, batch_norm_epsilon});
      next += 4;
      folded.push_back({weight.shape, std::move(w)});
      folded.push_back({{l.out}, std::move(b)});
    }
  }
  return folded;
}

NodeId run_graph(const NetGraph& graph, Tape& tape, NodeId input, const GraphParts& parts) {
  std::vector<NodeId> nodes;
  const auto node = [&](int layer) {
    return layer == no_layer ? no_node : layer == network_input ? input : nodes.at(std::size_t(layer));
  };
  for (const LayerPlan& l : graph.layers) {
    const NodeId x = node(l.x[0]);
    const bool clamped = l.activation == Activation::relu6;
    const Fused fused{.residual = node(l.residual), .relu = l.activation == Activation::relu};
    const std::string name = clamped ? l.name + ".sum" : l.name;
    const kernels::PoolShape window{.r = l.kernel,
                                    .s = l.kernel,
                                    .stride_h = l.stride,
                                    .stride_w = l.stride,
                                    .pad_h = l.pad,
                                    .pad_w = l.pad,
                                    .ceil_mode = l.ceil_mode};
    NodeId out = no_node;
    switch (l.kind) {
      case LayerKind::conv:
        out = parts.conv(l, x, fused, name);
        break;
      case LayerKind::linear:
        out = parts.linear(l, x, fused, name);
        break;
      case LayerKind::norm:
        out = parts.norm(l, x, fused, name);
        break;
      case LayerKind::relu:
        out = tape.relu(x, name);
        break;
      case LayerKind::max_pool:
        out = tape.max_pool(x, window, name);
        break;
      case LayerKind::avg_pool:
        out = tape.avg_pool(x, window, true, name);
        break;
      case LayerKind::global_avg_pool:
        out = tape.global_avg_pool(x, name);
        break;
      case LayerKind::adaptive_avg_pool:
        out = tape.adaptive_avg_pool(x, l.size, l.size, name);
        break;
      case LayerKind::shortcut:
        out = tape.shortcut(x, l.out, l.stride, name);
        break;
      case LayerKind::concat: {
        std::vector<NodeId> from;
        for (const int part : l.x) from.push_back(node(part));
        out = tape.concat(from, name);
        break;
      }
    }
    if (clamped) out = tape.relu(out, l.name, 6.0f);
    nodes.push_back(out);
  }
  return nodes.back();
}

}  // namespace retrace
