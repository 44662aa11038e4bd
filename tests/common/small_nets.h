// Small random networks that hold every op and every way a residual can join, for tests of tape, walks and rules.
#pragma once
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/tape.h"

namespace retrace {

enum class SmallNet { residual, plain, with_signs };
inline constexpr SmallNet small_nets[] = {SmallNet::residual, SmallNet::plain, SmallNet::with_signs};

class SmallNets {
 public:
  SmallNets(Device& device, unsigned seed) : device_(device), random_(seed) {}

  Tensor values(Shape shape, float scale = 1) {
    std::size_t count = 1;
    for (const auto d : shape) count *= std::size_t(d);
    std::vector<float> host(count);
    std::normal_distribution<float> normal(0, scale);
    for (float& v : host) v = normal(random_);
    return Tensor::from_host(device_, std::move(shape), host);
  }

  // KRSC, scaled so that activations stay of order 1.
  std::shared_ptr<LinearMap> conv(const std::string& name, int k, int r, int c, float bias = 0.2f) {
    const float scale = std::sqrt(1.6f / float(r * r * c));
    return std::make_shared<LinearMap>(name, values({k, r, r, c}, scale),
                                       bias > 0 ? values({k}, bias) : Tensor());
  }
  std::shared_ptr<LinearMap> dense(const std::string& name, int k, int c, float bias = 0.2f) {
    return std::make_shared<LinearMap>(name, values({k, c}, std::sqrt(1.0f / float(c))),
                                       bias > 0 ? values({k}, bias) : Tensor());
  }

  NodeId net(SmallNet kind, Tape& tape, const Tensor& x, float bias = 0.2f) {
    return kind == SmallNet::residual ? residual_net(tape, x, bias)
           : kind == SmallNet::plain  ? plain_net(tape, x, bias)
                                      : signed_net(tape, x, bias);
  }

  // Stem, max-pool, an identity block, a block with a downsampling convolution, one with an option-A shortcut,
  // global average pool, linear. `bias` 0: none anywhere. Returns the logits' node.
  NodeId residual_net(Tape& tape, const Tensor& x, float bias = 0.2f) {
    NodeId at = tape.conv2d(tape.input(x), conv("stem", 8, 3, int(x.dim(3)), bias), {.pad_h = 1, .pad_w = 1},
                            {.relu = true}, "stem");
    at = tape.max_pool(at, {.r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}, "maxpool");
    const auto block = [&](const std::string& name, int c, int k, int stride, NodeId skip) {
      const NodeId h = tape.conv2d(at, conv(name + ".a", k, 3, c, bias),
                                   {.stride_h = stride, .stride_w = stride, .pad_h = 1, .pad_w = 1},
                                   {.relu = true}, name + ".a");
      at = tape.conv2d(h, conv(name + ".b", k, 3, k, bias), {.pad_h = 1, .pad_w = 1},
                       {.residual = skip, .relu = true}, name);
    };
    block("one", 8, 8, 1, at);
    block("two", 8, 12, 2,
          tape.conv2d(at, conv("two.down", 12, 1, 8, bias), {.stride_h = 2, .stride_w = 2}, {}, "two.down"));
    block("three", 12, 20, 2, tape.shortcut(at, 20, 2, "three.shortcut"));
    at = tape.global_avg_pool(at, "avgpool");
    return tape.linear(at, dense("fc", 5, 20, bias), {}, "fc");
  }

  // What MobileNets and DenseNets add: ReLU6 and depthwise convolutions, blocks that end without an activation, so that
  // skips and sums can be negative, concatenation, batch norms of their own, an adaptive pool that overlaps.
  NodeId signed_net(Tape& tape, const Tensor& x, float bias = 0.2f) {
    NodeId at = tape.conv2d(tape.input(x), conv("stem", 8, 3, int(x.dim(3)), bias), {.pad_h = 1, .pad_w = 1},
                            {}, "stem");
    at = tape.relu(at, "stem6", 0.8f);
    const auto inverted = [&](const std::string& name, int stride, NodeId skip) {
      NodeId h = tape.conv2d(at, conv(name + ".expand", 16, 1, 8, bias), {}, {}, name + ".expand");
      h = tape.relu(h, name + ".expand6", 0.8f);
      h = tape.conv2d(h, conv(name + ".depthwise", 16, 3, 1, bias),
                      {.stride_h = stride, .stride_w = stride, .pad_h = 1, .pad_w = 1, .groups = 16}, {},
                      name + ".depthwise");
      h = tape.relu(h, name + ".depthwise6", 0.8f);
      at = tape.conv2d(h, conv(name, 8, 1, 16, bias), {}, {.residual = skip}, name);
    };
    inverted("one", 2, no_node);
    inverted("two", 1, at);
    inverted("three", 1, at);
    const auto dense_layer = [&](const std::string& name, bool relu) {
      const int channels = int(tape.value(at).dim(3));
      const NodeId h = tape.conv2d(at, conv(name + ".norm", channels, 1, 1, bias), {.groups = channels},
                                   {.relu = true}, name + ".norm");
      const NodeId added =
          tape.conv2d(h, conv(name, 4, 3, channels, bias), {.pad_h = 1, .pad_w = 1}, {.relu = relu}, name);
      at = tape.concat({at, added, at}, name + ".concat");
    };
    dense_layer("four", false);
    dense_layer("five", true);
    at = tape.avg_pool(at, {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}, true, "pool");
    at = tape.max_pool(at, {.r = 2, .s = 2, .stride_h = 1, .stride_w = 1}, "maxpool");
    const int channels = int(tape.value(at).dim(3));
    at = tape.conv2d(at, conv("norm", channels, 1, 1, bias), {.groups = channels}, {}, "norm");
    at = tape.adaptive_avg_pool(tape.relu(at, "relu"), 3, 2, "adaptive");
    at = tape.linear(at, dense("hidden", 12, int(tape.value(at).size() / x.dim(0)), bias), {.relu = true},
                     "hidden");
    return tape.linear(at, dense("out", 4, 12, bias), {}, "out");
  }

  // The ops residual_net leaves out: grouped and dilated convolution, separate add and ReLU, average pool, two
  // fully connected layers.
  NodeId plain_net(Tape& tape, const Tensor& x, float bias = 0.2f) {
    NodeId at = tape.conv2d(tape.input(x), conv("first", 8, 3, int(x.dim(3)), bias), {.pad_h = 1, .pad_w = 1},
                            {.relu = true}, "first");
    const NodeId left =
        tape.conv2d(at, conv("left", 8, 3, 4, bias), {.pad_h = 1, .pad_w = 1, .groups = 2}, {}, "left");
    const NodeId right = tape.conv2d(at, conv("right", 8, 3, 8, bias),
                                     {.pad_h = 2, .pad_w = 2, .dilation_h = 2, .dilation_w = 2}, {}, "right");
    at = tape.relu(tape.add(left, right, false, "sum"), "relu");
    at = tape.avg_pool(at, {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}, true, "pool");
    const Tensor& pooled = tape.value(at);
    at = tape.linear(at, dense("hidden", 12, int(pooled.size() / pooled.dim(0)), bias), {.relu = true},
                     "hidden");
    return tape.linear(at, dense("out", 4, 12, bias), {}, "out");
  }

 private:
  Device& device_;
  std::mt19937 random_;
};

}  // namespace retrace
