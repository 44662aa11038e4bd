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
    needed_[std::size_t(id)] = wanted_[std::size_t(id)] || needed(node.x) || needed(node.residual);
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
    if (needed(node(id).x) || needed(node(id).residual)) rule_->propagate(*this, id);
    signals_[std::size_t(id)] = {};
  }
  return result;
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

void GradientRule::propagate(Walk& walk, NodeId id) {
  const Node& node = walk.node(id);
  const Stream stream = walk.device().stream();
  const auto& launch = walk.device().kernels();
  if (node.op != Op::conv2d && node.op != Op::linear) return propagate_plain(walk, id, walk.gated_signal(id));
  const Tensor dz = walk.gated_signal(id);
  if (walk.needed(node.residual)) walk.pass(node.residual, dz);
  if (!walk.needed(node.x)) return;
  // A flattened row of many pixels has its mask bits where the pixels' are only if those fill whole bytes.
  const PixelView in = pixels_of(walk.node(node.x).value);
  auto sink = walk.sink(node.x, node.op == Op::conv2d || in.pixels == dz.dim(0) || in.channels % 8 == 0);
  if (node.op == Op::conv2d) {
    launch.conv2d_dgrad({.shape = node.conv,
                         .dy = {dz.data()},
                         .w = node.map->weight().data(),
                         .epilogue = sink.epilogue,
                         .dx = sink.out.data()},
                        stream);
  } else {
    const Tensor& w = node.map->weight();
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

void GradientRule::propagate_plain(Walk& walk, NodeId id, const Tensor& dy) {
  const Node& node = walk.node(id);
  const Stream stream = walk.device().stream();
  const auto& launch = walk.device().kernels();
  switch (node.op) {
    case Op::relu:
      walk.pass(node.x, dy);
      return;
    case Op::add:
      if (walk.needed(node.x)) walk.pass(node.x, dy);
      if (walk.needed(node.residual)) walk.pass(node.residual, dy);
      return;
    default:
      break;
  }
  auto sink = walk.sink(node.x);
  const Shape& in = walk.node(node.x).value.shape();
  switch (node.op) {
    case Op::max_pool:
      launch.max_pool_backward(
          {node.pool, dy.data(), node.argmax.data<std::int32_t>(), sink.epilogue, sink.out.data()}, stream);
      break;
    case Op::avg_pool:
      launch.avg_pool_backward({node.pool, node.count_include_pad, dy.data(), sink.epilogue, sink.out.data()},
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
    case Op::softmax: {
      Tensor dx(walk.device(), node.value.shape());
      launch.softmax_backward({int(in[0]), int(in[1]), node.log, node.value.data(), dy.data(), dx.data()},
                              stream);
      walk.pass(node.x, dx);
      return;
    }
    default:
      throw Error("layer " + node.name + ": " + op_name(node.op) + " has no backward");
  }
  walk.commit(std::move(sink));
}

}  // namespace retrace
