#include "engine/tape.h"

#include <algorithm>
#include <limits>

namespace retrace {

using namespace kernels;

const char* op_name(Op op) {
  constexpr const char* names[] = {"input",           "conv2d",  "linear", "max_pool",         "avg_pool",
                                   "global_avg_pool", "relu",    "add",    "shortcut",         "softmax",
                                   "batch_norm",      "dropout", "concat", "adaptive_avg_pool"};
  return names[std::size_t(op)];
}

PixelView pixels_of(const Tensor& value) {
  const std::int64_t channels = value.shape().back();
  return {int(channels ? value.size() / channels : 0), int(channels)};
}

void Tape::require(bool holds, const std::string& name, const std::string& what) {
  if (!holds) throw Error("layer " + name + ": " + what);
}

NodeId Tape::append(Node node) {
  nodes_.push_back(std::move(node));
  return size() - 1;
}

Tensor Tape::mask_for(const Tensor& value) const {
  const PixelView view = pixels_of(value);
  return Tensor(*device_, {view.pixels, mask_pitch(view.channels)}, ElementType::u8);
}

NodeId Tape::find(const std::string& name) const {
  const auto at = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.name == name; });
  return at == nodes_.end() ? no_node : NodeId(at - nodes_.begin());
}

int Tape::consumers(NodeId id) const {
  return int(std::count_if(nodes_.begin(), nodes_.end(), [&](const Node& n) {
    bool reads = false;
    n.each_input([&](NodeId from) { reads = reads || from == id; });
    return reads;
  }));
}

NodeId Tape::input(Tensor x, std::string name) {
  require(x && x.shape().size() == 4 && x.size() > 0, name, "expected a batch [N, H, W, C]");
  require(x.size() < std::numeric_limits<int>::max(), name,
          "a batch of 2^31 values or more is not supported");
  Node node{.op = Op::input, .name = std::move(name)};
  node.value = std::move(x);
  return append(std::move(node));
}

NodeId Tape::conv2d(NodeId x, std::shared_ptr<const LinearMap> map, const ConvGeometry& g, const Fused& fused,
                    std::string name) {
  const Shape in = value(x).shape(), weight = map->weight().shape();
  require(in.size() == 4 && weight.size() == 4, name,
          "a convolution takes NHWC " + to_string(in) + " and KRSC " + to_string(weight));
  require(in[3] == weight[3] * g.groups, name,
          "input " + to_string(in) + " does not have the " + std::to_string(weight[3] * g.groups) +
              " channels of weight " + to_string(weight));
  Node node{.op = Op::conv2d, .name = std::move(name), .x = x, .residual = fused.residual};
  node.relu = node.nonnegative = fused.relu;
  node.conv = {.n = int(in[0]),
               .h = int(in[1]),
               .w = int(in[2]),
               .c = int(in[3]),
               .k = int(weight[0]),
               .r = int(weight[1]),
               .s = int(weight[2]),
               .stride_h = g.stride_h,
               .stride_w = g.stride_w,
               .pad_h = g.pad_h,
               .pad_w = g.pad_w,
               .dilation_h = g.dilation_h,
               .dilation_w = g.dilation_w,
               .groups = g.groups};
  node.conv.validate();
  node.value = Tensor(*device_, {in[0], node.conv.p(), node.conv.q(), weight[0]});
  if (fused.relu) node.relu_mask = mask_for(node.value);
  if (fused.residual != no_node) {
    require(value(fused.residual).shape() == node.value.shape(), node.name,
            "residual " + to_string(value(fused.residual).shape()) + " and sum " +
                to_string(node.value.shape()) + " differ in shape");
  }
  Conv2dFprop launch{.shape = node.conv, .x = value(x).data(), .w = map->weight().data()};
  if (map->bias()) launch.bias = map->bias().data();
  if (fused.residual != no_node) launch.residual = value(fused.residual).data();
  launch.relu = fused.relu;
  launch.y = node.value.data();
  if (fused.relu) launch.relu_mask = node.relu_mask.data<std::uint8_t>();
  device_->kernels().conv2d_fprop(launch, device_->stream());
  node.map = std::move(map);
  return append(std::move(node));
}

NodeId Tape::linear(NodeId x, std::shared_ptr<const LinearMap> map, const Fused& fused, std::string name) {
  const Tensor& in = value(x);
  const Shape weight = map->weight().shape();
  const std::int64_t n = in.dim(0);
  require(weight.size() == 2 && in.size() == n * weight[1], name,
          "input " + to_string(in.shape()) + " does not fit weight " + to_string(weight));
  Node node{.op = Op::linear, .name = std::move(name), .x = x, .residual = fused.residual};
  node.relu = node.nonnegative = fused.relu;
  node.value = Tensor(*device_, {n, weight[0]});
  if (fused.relu) node.relu_mask = mask_for(node.value);
  LinearFprop launch{
      .n = int(n), .c = int(weight[1]), .k = int(weight[0]), .x = in.data(), .w = map->weight().data()};
  if (map->bias()) launch.bias = map->bias().data();
  if (fused.residual != no_node) {
    require(value(fused.residual).shape() == node.value.shape(), node.name,
            "residual and sum differ in shape");
    launch.residual = value(fused.residual).data();
  }
  launch.relu = fused.relu;
  launch.y = node.value.data();
  if (fused.relu) launch.relu_mask = node.relu_mask.data<std::uint8_t>();
  device_->kernels().linear_fprop(launch, device_->stream());
  node.map = std::move(map);
  return append(std::move(node));
}

namespace {

PoolShape pool_shape(const Tensor& in, PoolShape window, const std::string& name) {
  if (in.shape().size() != 4)
    throw Error("layer " + name + ": a pool takes NHWC, not " + to_string(in.shape()));
  window.n = int(in.dim(0)), window.h = int(in.dim(1)), window.w = int(in.dim(2)), window.c = int(in.dim(3));
  window.validate();
  return window;
}

}  // namespace

NodeId Tape::max_pool(NodeId x, PoolShape window, std::string name) {
  const Tensor& in = value(x);
  Node node{.op = Op::max_pool, .name = std::move(name), .x = x};
  node.pool = pool_shape(in, window, node.name);
  node.nonnegative = this->node(x).nonnegative;
  node.value = Tensor(*device_, {in.dim(0), node.pool.p(), node.pool.q(), in.dim(3)});
  node.argmax = Tensor(*device_, node.value.shape(), ElementType::i32);
  device_->kernels().max_pool_fprop(
      {node.pool, in.data(), node.value.data(), node.argmax.data<std::int32_t>()}, device_->stream());
  return append(std::move(node));
}

NodeId Tape::avg_pool(NodeId x, PoolShape window, bool count_include_pad, std::string name) {
  const Tensor& in = value(x);
  Node node{.op = Op::avg_pool, .name = std::move(name), .x = x};
  node.pool = pool_shape(in, window, node.name);
  node.nonnegative = this->node(x).nonnegative;
  node.count_include_pad = count_include_pad;
  node.value = Tensor(*device_, {in.dim(0), node.pool.p(), node.pool.q(), in.dim(3)});
  device_->kernels().avg_pool_fprop({node.pool, count_include_pad, in.data(), node.value.data()},
                                    device_->stream());
  return append(std::move(node));
}

NodeId Tape::global_avg_pool(NodeId x, std::string name) {
  const Tensor& in = value(x);
  require(in.shape().size() == 4, name, "a pool takes NHWC, not " + to_string(in.shape()));
  Node node{.op = Op::global_avg_pool, .name = std::move(name), .x = x};
  node.nonnegative = this->node(x).nonnegative;
  node.value = Tensor(*device_, {in.dim(0), in.dim(3)});
  device_->kernels().global_avg_pool_fprop(
      {int(in.dim(0)), int(in.dim(1)), int(in.dim(2)), int(in.dim(3)), in.data(), node.value.data()},
      device_->stream());
  return append(std::move(node));
}

NodeId Tape::adaptive_avg_pool(NodeId x, int p, int q, std::string name) {
  const Tensor& in = value(x);
  require(in.shape().size() == 4, name, "a pool takes NHWC, not " + to_string(in.shape()));
  Node node{.op = Op::adaptive_avg_pool, .name = std::move(name), .x = x};
  node.nonnegative = this->node(x).nonnegative;
  node.value = Tensor(*device_, {in.dim(0), p, q, in.dim(3)});
  device_->kernels().adaptive_avg_pool_fprop(
      {int(in.dim(0)), int(in.dim(1)), int(in.dim(2)), int(in.dim(3)), p, q, in.data(), node.value.data()},
      device_->stream());
  return append(std::move(node));
}

NodeId Tape::concat(const std::vector<NodeId>& parts, std::string name) {
  require(!parts.empty(), name, "nothing to concatenate");
  Node node{
      .op = Op::concat, .name = std::move(name), .x = parts[0], .more = {parts.begin() + 1, parts.end()}};
  Shape shape = value(parts[0]).shape();
  shape.back() = 0;
  node.nonnegative = true;
  for (const NodeId part : parts) {
    Shape other = value(part).shape();
    shape.back() += other.back();
    other.back() = shape.back();
    require(other == shape, node.name,
            "inputs " + to_string(value(parts[0]).shape()) + " and " + to_string(value(part).shape()) +
                " differ in more than channels");
    node.nonnegative = node.nonnegative && this->node(part).nonnegative;
  }
  node.value = Tensor(*device_, shape);
  const PixelView view = pixels_of(node.value);
  int offset = 0;
  for (const NodeId part : parts) {
    const int channels = pixels_of(value(part)).channels;
    device_->kernels().concat_fprop(
        {view.pixels, channels, view.channels, offset, value(part).data(), node.value.data()},
        device_->stream());
    offset += channels;
  }
  return append(std::move(node));
}

NodeId Tape::relu(NodeId x, std::string name, float ceiling) {
  const Tensor& in = value(x);
  Node node{.op = Op::relu, .name = std::move(name), .x = x};
  node.ceiling = ceiling;
  node.relu = node.nonnegative = true;
  node.value = Tensor(*device_, in.shape());
  node.relu_mask = mask_for(in);
  const PixelView view = pixels_of(in);
  device_->kernels().relu_fprop({view.pixels, view.channels, in.data(), node.value.data(),
                                 node.relu_mask.data<std::uint8_t>(), ceiling},
                                device_->stream());
  return append(std::move(node));
}

NodeId Tape::add(NodeId a, NodeId b, bool relu, std::string name) {
  require(
      value(a).shape() == value(b).shape(), name,
      "summands " + to_string(value(a).shape()) + " and " + to_string(value(b).shape()) + " differ in shape");
  Node node{.op = Op::add, .name = std::move(name), .x = a, .residual = b};
  node.relu = relu;
  node.nonnegative = relu || (this->node(a).nonnegative && this->node(b).nonnegative);
  node.value = Tensor(*device_, value(a).shape());
  if (relu) node.relu_mask = mask_for(node.value);
  const PixelView view = pixels_of(node.value);
  device_->kernels().add_fprop({view.pixels, view.channels, value(a).data(), value(b).data(), relu,
                                node.value.data(), relu ? node.relu_mask.data<std::uint8_t>() : nullptr},
                               device_->stream());
  return append(std::move(node));
}

NodeId Tape::shortcut(NodeId x, int k, int stride, std::string name) {
  const Tensor& in = value(x);
  require(in.shape().size() == 4 && stride >= 1 && k >= in.dim(3), name,
          "option A widens NHWC input " + to_string(in.shape()) + ", to " + std::to_string(k) + " channels");
  Node node{.op = Op::shortcut, .name = std::move(name), .x = x};
  node.nonnegative = this->node(x).nonnegative;
  node.stride = stride;
  node.value =
      Tensor(*device_, {in.dim(0), (in.dim(1) + stride - 1) / stride, (in.dim(2) + stride - 1) / stride, k});
  device_->kernels().shortcut_fprop({int(in.dim(0)), int(in.dim(1)), int(in.dim(2)), int(in.dim(3)), k,
                                     stride, in.data(), node.value.data()},
                                    device_->stream());
  return append(std::move(node));
}

NodeId Tape::batch_norm(NodeId x, std::shared_ptr<const BatchNorm> norm, const Fused& fused,
                        std::string name) {
  const Tensor& in = value(x);
  const PixelView view = pixels_of(in);
  require(norm->weight.shape() == Shape{view.channels}, name,
          "input " + to_string(in.shape()) + " does not have the channels of weight " +
              to_string(norm->weight.shape()));
  require(view.pixels >= 2, name, "batch norm in training needs at least 2 values a channel");
  Node node{.op = Op::batch_norm, .name = std::move(name), .x = x, .residual = fused.residual};
  node.relu = node.nonnegative = fused.relu;
  node.value = Tensor(*device_, in.shape());
  node.mean = Tensor(*device_, {view.channels});
  node.inverse_std = Tensor(*device_, {view.channels});
  if (fused.relu) node.relu_mask = mask_for(node.value);
  const Tensor scratch(*device_, {batch_norm_workspace(view.pixels, view.channels)});
  BatchNormFprop launch{.pixels = view.pixels, .c = view.channels, .x = in.data()};
  launch.weight = norm->weight.data();
  launch.bias = norm->bias.data();
  launch.epsilon = norm->epsilon;
  launch.momentum = norm->momentum;
  if (fused.residual != no_node) {
    require(value(fused.residual).shape() == in.shape(), node.name, "residual and input differ in shape");
    launch.residual = value(fused.residual).data();
  }
  launch.relu = fused.relu;
  if (norm->running_mean) {
    launch.running_mean = norm->running_mean.data();
    launch.running_var = norm->running_var.data();
  }
  launch.mean = node.mean.data();
  launch.inverse_std = node.inverse_std.data();
  launch.y = node.value.data();
  if (fused.relu) launch.relu_mask = node.relu_mask.data<std::uint8_t>();
  launch.workspace = scratch.data();
  device_->kernels().batch_norm_fprop(launch, device_->stream());
  node.norm = std::move(norm);
  return append(std::move(node));
}

NodeId Tape::dropout(NodeId x, const DropoutPlan& plan, std::string name) {
  const Tensor& in = value(x);
  require(plan.p >= 0 && plan.p < 1, name,
          "dropout of " + std::to_string(plan.p) + ", expected 0 to below 1");
  Node node{.op = Op::dropout, .name = std::move(name), .x = x};
  node.nonnegative = this->node(x).nonnegative;
  node.drop = plan;
  node.value = Tensor(*device_, in.shape());
  device_->kernels().dropout({in.size(), plan.p, plan.seed, plan.offset, in.data(), node.value.data()},
                             device_->stream());
  return append(std::move(node));
}

NodeId Tape::softmax(NodeId x, bool log, std::string name) {
  const Tensor& in = value(x);
  require(in.shape().size() == 2, name, "softmax takes [N, K], not " + to_string(in.shape()));
  Node node{.op = Op::softmax, .name = std::move(name), .x = x};
  node.nonnegative = !log;
  node.log = log;
  node.value = Tensor(*device_, in.shape());
  device_->kernels().softmax_fprop({int(in.dim(0)), int(in.dim(1)), log, in.data(), node.value.data()},
                                   device_->stream());
  return append(std::move(node));
}

}  // namespace retrace
