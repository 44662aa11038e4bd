#include "engine/walk.h"

#include <algorithm>

namespace retrace {

using namespace kernels;

Walk::Walk(const Tape& tape, Rule& rule, NodeId start, const std::vector<NodeId>& wanted)
    : tape_(&tape),
      rule_(&rule),
      start_(start),
      needed_(std::size_t(tape.size())),
      wanted_(std::size_t(tape.size())),
      signals_(std::size_t(tape.size())) {
  for (const NodeId id : wanted) {
    if (id < 0 || id > start)
      throw Error("a walk from layer " + tape.node(start).name + " cannot reach a later layer");
    wanted_[std::size_t(id)] = true;
  }
  for (NodeId id = 0; id <= start; ++id) {
    const Node& node = tape.node(id);
    needed_[std::size_t(id)] = wanted_[std::size_t(id)] || rule.uses(node) || needs_input(node);
  }
}

std::map<NodeId, Tensor> Walk::run(const Tensor& seed) {
  if (seed.shape() != tape_->value(start_).shape()) {
    throw Error("seed of shape " + to_string(seed.shape()) + ", layer " + node(start_).name + " has " +
                to_string(tape_->value(start_).shape()));
  }
  std::fill(signals_.begin(), signals_.end(), Signal{});
  rule_->begin(*this);
  if (needed(start_)) pass(start_, seed);
  std::map<NodeId, Tensor> result;
  for (NodeId id = start_; id >= 0; --id) {
    if (!has_signal(id)) {
      if (wanted_[std::size_t(id)]) {
        Tensor zeros(device(), node(id).value.shape());
        device().zero(zeros.raw(), zeros.bytes());
        result[id] = zeros;
      }
      continue;
    }
    if (wanted_[std::size_t(id)]) result[id] = signal(id);
    if (rule_->uses(node(id)) || needs_input(node(id))) rule_->propagate(*this, id);
    signals_[std::size_t(id)] = {};
  }
  return result;
}

bool Walk::needs_input(const Node& node) const {
  bool needs = false;
  node.each_input([&](NodeId from) { needs = needs || needed(from); });
  return needs;
}

Tensor Walk::gated_signal(NodeId id) {
  const Signal& signal = signals_[std::size_t(id)];
  const Node& node = this->node(id);
  if (!node.relu || signal.gated) return signal.value;
  Tensor gated(device(), node.value.shape());
  const PixelView view = pixels_of(node.value);
  device().kernels().relu_backward({view.pixels,
                                    view.channels,
                                    signal.value.data(),
                                    {nullptr, node.relu_mask.data<std::uint8_t>()},
                                    gated.data()},
                                   device().stream());
  return gated;
}

Walk::Sink Walk::sink(NodeId to, bool can_mask) {
  const Signal& before = signals_[std::size_t(to)];
  Sink sink{to, {}, {}};
  if (before.value) sink.epilogue.pending = before.value.data();
  sink.out = before.value && !before.borrowed ? before.value : Tensor(device(), node(to).value.shape());
  if (can_mask && rule_->gates_by_mask() && node(to).relu && !wanted_[std::size_t(to)]) {
    sink.epilogue.mask = node(to).relu_mask.data<std::uint8_t>();
  }
  return sink;
}

void Walk::commit(Sink&& sink) {
  signals_[std::size_t(sink.to)] = {std::move(sink.out), false, sink.epilogue.mask != nullptr};
}

void Walk::pass(NodeId to, const Tensor& contribution) {
  Signal& signal = signals_[std::size_t(to)];
  const Tensor shaped = contribution.reshape(node(to).value.shape());
  if (!signal.value) {
    signal = {shaped, true, false};
    return;
  }
  Sink into = sink(to, false);
  device().kernels().combine({shaped.size(), 1, 1, shaped.data(), into.epilogue.pending, into.out.data()},
                             device().stream());
  commit(std::move(into));
}

const ParameterGradient* GradientRule::slot_of(const Node& node) const {
  const void* const owner =
      node.map ? static_cast<const void*>(node.map.get()) : static_cast<const void*>(node.norm.get());
  const auto at = owner ? slots_.find(owner) : slots_.end();
  return at == slots_.end() ? nullptr : &at->second;
}

void GradientRule::propagate(Walk& walk, NodeId id) {
  const Tensor dz = walk.gated_signal(id);
  switch (walk.node(id).op) {
    case Op::conv2d:
    case Op::linear:
      return linear_map(walk, id, dz);
    case Op::batch_norm:
      return batch_norm(walk, id, dz);
    default:
      return propagate_plain(walk, id, dz);
  }
}

void GradientRule::linear_map(Walk& walk, NodeId id, const Tensor& dz) const {
  const Node& node = walk.node(id);
  Device& device = walk.device();
  const Stream stream = device.stream();
  const auto& launch = device.kernels();
  const Tensor& x = walk.node(node.x).value;
  const Tensor& w = node.map->weight();
  if (const ParameterGradient* const slot = slot_of(node)) {
    if (node.op == Op::conv2d) {
      Conv2dWgrad wgrad{.shape = node.conv, .x = x.data(), .dy = dz.data()};
      wgrad.accumulate = slot->accumulate;
      wgrad.dw = slot->weight.data();
      const Tensor scratch(device, {conv2d_wgrad_workspace(node.conv)});
      if (scratch.size()) wgrad.workspace = scratch.data();
      launch.conv2d_wgrad(wgrad, stream);
    } else {
      launch.linear_wgrad({int(dz.dim(0)), int(w.dim(1)), int(w.dim(0)), x.data(), dz.data(),
                           slot->accumulate, slot->weight.data()},
                          stream);
    }
    if (slot->bias) {
      const PixelView view = pixels_of(dz);
      const Tensor scratch(device, {column_sums_workspace(view.pixels, view.channels)});
      launch.column_sums({view.pixels, view.channels, dz.data(), slot->accumulate, slot->bias.data(),
                          scratch.size() ? scratch.data() : nullptr},
                         stream);
    }
  }
  if (walk.needed(node.residual)) walk.pass(node.residual, dz);
  if (!walk.needed(node.x)) return;
  // A flattened row of many pixels has its mask bits where the pixels' are only if those fill whole bytes.
  const PixelView in = pixels_of(x);
  auto sink = walk.sink(node.x, node.op == Op::conv2d || in.pixels == dz.dim(0) || in.channels % 8 == 0);
  if (node.op == Op::conv2d) {
    launch.conv2d_dgrad({.shape = node.conv,
                         .dy = {dz.data()},
                         .w = w.data(),
                         .epilogue = sink.epilogue,
                         .dx = sink.out.data()},
                        stream);
  } else {
    launch.linear_dgrad({.n = int(dz.dim(0)),
                         .c = int(w.dim(1)),
                         .k = int(w.dim(0)),
                         .dy = {dz.data()},
                         .w = w.data(),
                         .epilogue = sink.epilogue,
                         .dx = sink.out.data()},
                        stream);
  }
  walk.commit(std::move(sink));
}

void GradientRule::batch_norm(Walk& walk, NodeId id, const Tensor& dz) const {
  const Node& node = walk.node(id);
  Device& device = walk.device();
  if (walk.needed(node.residual)) walk.pass(node.residual, dz);
  const ParameterGradient* const slot = slot_of(node);
  const bool wanted = walk.needed(node.x);
  if (!slot && !wanted) return;
  const PixelView view = pixels_of(node.value);
  const ParameterGradient own =
      slot ? *slot : ParameterGradient{Tensor(device, {view.channels}), Tensor(device, {view.channels})};
  const Tensor scratch(device, {batch_norm_workspace(view.pixels, view.channels)});
  BatchNormBackward launch{.pixels = view.pixels, .c = view.channels, .x = walk.node(node.x).value.data()};
  launch.dy = dz.data();
  launch.weight = node.norm->weight.data();
  launch.mean = node.mean.data();
  launch.inverse_std = node.inverse_std.data();
  launch.accumulate = own.accumulate;
  launch.dweight = own.weight.data();
  launch.dbias = own.bias.data();
  launch.workspace = scratch.data();
  if (!wanted) return device.kernels().batch_norm_backward(launch, device.stream());
  auto sink = walk.sink(node.x);
  launch.epilogue = sink.epilogue;
  launch.dx = sink.out.data();
  device.kernels().batch_norm_backward(launch, device.stream());
  walk.commit(std::move(sink));
}

void GradientRule::propagate_plain(Walk& walk, NodeId id, const Tensor& dy) {
  const Node& node = walk.node(id);
  const Stream stream = walk.device().stream();
  const auto& launch = walk.device().kernels();
  const Shape& in = walk.node(node.x).value.shape();
  switch (node.op) {
    case Op::relu:
      walk.pass(node.x, dy);
      return;
    case Op::add:
      if (walk.needed(node.x)) walk.pass(node.x, dy);
      if (walk.needed(node.residual)) walk.pass(node.residual, dy);
      return;
    case Op::concat: {
      const PixelView view = pixels_of(node.value);
      int offset = 0;
      node.each_input([&](NodeId part) {
        const int channels = pixels_of(walk.node(part).value).channels;
        if (walk.needed(part)) {
          auto sink = walk.sink(part);
          launch.concat_backward(
              {view.pixels, channels, view.channels, offset, dy.data(), sink.epilogue, sink.out.data()},
              stream);
          walk.commit(std::move(sink));
        }
        offset += channels;
      });
      return;
    }
    case Op::softmax: {
      Tensor dx(walk.device(), node.value.shape());
      launch.softmax_backward({int(in[0]), int(in[1]), node.log, node.value.data(), dy.data(), dx.data()},
                              stream);
      walk.pass(node.x, dx);
      return;
    }
    case Op::dropout: {
      Tensor dx(walk.device(), node.value.shape());
      launch.dropout({dy.size(), node.drop.p, node.drop.seed, node.drop.offset, dy.data(), dx.data()},
                     stream);
      walk.pass(node.x, dx);
      return;
    }
    default:
      break;
  }
  auto sink = walk.sink(node.x);
  switch (node.op) {
    case Op::max_pool:
      launch.max_pool_backward(
          {node.pool, dy.data(), node.argmax.data<std::int32_t>(), sink.epilogue, sink.out.data()}, stream);
      break;
    case Op::avg_pool:
      launch.avg_pool_backward({node.pool, node.count_include_pad, dy.data(), sink.epilogue, sink.out.data()},
                               stream);
      break;
    case Op::adaptive_avg_pool:
      launch.adaptive_avg_pool_backward(
          {int(in[0]), int(in[1]), int(in[2]), int(in[3]), int(node.value.dim(1)), int(node.value.dim(2)),
           dy.data(), sink.epilogue, sink.out.data()},
          stream);
      break;
    case Op::global_avg_pool:
      launch.global_avg_pool_backward(
          {int(in[0]), int(in[1]), int(in[2]), int(in[3]), dy.data(), sink.epilogue, sink.out.data()},
          stream);
      break;
    case Op::shortcut:
      launch.shortcut_backward({int(in[0]), int(in[1]), int(in[2]), int(in[3]), int(node.value.dim(3)),
                                node.stride, dy.data(), sink.epilogue, sink.out.data()},
                               stream);
      break;
    default:
      throw Error("layer " + node.name + ": " + op_name(node.op) + " has no backward");
  }
  walk.commit(std::move(sink));
}

}  // namespace retrace
