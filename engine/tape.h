// The tape: every op of one forward pass with what its backward pass will need. Ops are fused as the kernels are:
// a convolution node is relu(conv(x) + bias + residual). The tape itself does not change when it is walked back,
// so any number of walks, under any rules, reuse one forward pass.
#pragma once
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/linear_map.h"
#include "engine/tensor.h"
#include "kernels/table.h"

namespace retrace {

using NodeId = int;
inline constexpr NodeId no_node = -1;

enum class Op : std::uint8_t {
  input,
  conv2d,
  linear,
  max_pool,
  avg_pool,
  global_avg_pool,
  relu,
  add,
  shortcut,
  softmax,
  batch_norm,
  dropout,
  concat,
  adaptive_avg_pool
};
const char* op_name(Op op);

// A convolution's shape but for the batch and the sizes the tensors bring.
struct ConvGeometry {
  int stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1, groups = 1;
};

// Parameters of a batch norm in training mode (Ioffe & Szegedy 2015; torch.nn.BatchNorm2d's conventions). Each [C].
struct BatchNorm {
  std::string name;
  Tensor weight, bias;
  Tensor running_mean, running_var;  // moved by every forward pass; both empty: not kept
  float epsilon = 1e-5f, momentum = 0.1f;
};

// Which elements a dropout keeps: see kernels::Dropout.
struct DropoutPlan {
  float p = 0;  // the share set to 0
  std::uint64_t seed = 0, offset = 0;
};

struct Node {
  Op op = Op::input;
  std::string name;
  NodeId x = no_node;          // first input
  NodeId residual = no_node;   // conv2d, linear: what was added before the ReLU; add: the second summand
  std::vector<NodeId> more{};  // concat: the inputs behind the first
  Tensor value{};              // NHWC, or [N, C] after linear and global_avg_pool
  bool relu = false;           // the node ends in a ReLU
  bool nonnegative = false;    // no value of this node can be below 0
  float ceiling = std::numeric_limits<float>::infinity();  // relu: what its values are cut at, 6 in a ReLU6
  Tensor relu_mask{};                                      // u8, where relu
  Tensor argmax{};                                         // i32, of max_pool
  std::shared_ptr<const LinearMap> map{};                  // conv2d, linear
  kernels::Conv2dShape conv{};                             // conv2d
  kernels::PoolShape pool{};                               // max_pool, avg_pool
  bool count_include_pad = true;                           // avg_pool
  int stride = 1;                                          // shortcut
  bool log = false;                                        // softmax
  std::shared_ptr<const BatchNorm> norm{};                 // batch_norm
  Tensor mean{}, inverse_std{};                            // batch_norm: this batch's
  DropoutPlan drop{};                                      // dropout

  // visit(NodeId), for every input in order; one that is read twice comes twice.
  template <typename Visit>
  void each_input(Visit visit) const {
    if (x != no_node) visit(x);
    if (residual != no_node) visit(residual);
    for (const NodeId id : more) visit(id);
  }
};

// What conv2d and linear fuse behind the sum.
struct Fused {
  NodeId residual = no_node;
  bool relu = false;
};

class Tape {
 public:
  explicit Tape(Device& device) : device_(&device) {}

  Device& device() const { return *device_; }

  // x: [N, H, W, C]
  NodeId input(Tensor x, std::string name = "input");
  NodeId conv2d(NodeId x, std::shared_ptr<const LinearMap> map, const ConvGeometry& geometry,
                const Fused& fused, std::string name);
  // x: [N, C], or NHWC which is taken as [N, H·W·C]
  NodeId linear(NodeId x, std::shared_ptr<const LinearMap> map, const Fused& fused, std::string name);
  // Extents of `window` other than n, h, w, c count.
  NodeId max_pool(NodeId x, kernels::PoolShape window, std::string name);
  NodeId avg_pool(NodeId x, kernels::PoolShape window, bool count_include_pad, std::string name);
  NodeId global_avg_pool(NodeId x, std::string name);
  // NHWC to [N, p, q, C]: torch.nn.AdaptiveAvgPool2d.
  NodeId adaptive_avg_pool(NodeId x, int p, int q, std::string name);
  // min(max(x, 0), ceiling)
  NodeId relu(NodeId x, std::string name, float ceiling = std::numeric_limits<float>::infinity());
  // Of channels: [N, H, W, C1], [N, H, W, C2], … to [N, H, W, C1 + C2 + …].
  NodeId concat(const std::vector<NodeId>& parts, std::string name);
  NodeId add(NodeId a, NodeId b, bool relu, std::string name);
  // Option A of He et al. 2016: subsample by stride, zero-pad to k channels.
  NodeId shortcut(NodeId x, int k, int stride, std::string name);
  NodeId softmax(NodeId x, bool log, std::string name);
  // Training only (models for inference have it folded into their convolutions). Normalises over all pixels of the
  // batch; then residual and ReLU as in conv2d. At least two pixels.
  NodeId batch_norm(NodeId x, std::shared_ptr<const BatchNorm> norm, const Fused& fused, std::string name);
  NodeId dropout(NodeId x, const DropoutPlan& plan, std::string name);

  int size() const { return int(nodes_.size()); }
  const Node& node(NodeId id) const { return nodes_.at(std::size_t(id)); }
  const Tensor& value(NodeId id) const { return node(id).value; }
  // The first node of that name, or no_node.
  NodeId find(const std::string& name) const;
  // How many nodes read this one.
  int consumers(NodeId id) const;

 private:
  NodeId append(Node node);
  Tensor mask_for(const Tensor& value) const;
  static void require(bool holds, const std::string& name, const std::string& what);

  Device* device_;
  std::vector<Node> nodes_;
};

// Pixels and channels of a value: NHWC or [N, C].
struct PixelView {
  int pixels = 0, channels = 0;
};
PixelView pixels_of(const Tensor& value);

}  // namespace retrace
