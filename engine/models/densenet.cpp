// DenseNet (Huang et al. 2017), torchvision's: every layer reads all that came before it in its block, through a batch norm
// and a ReLU of its own that stand before the convolution.
#include <fmt/format.h>

#include "engine/models/graph.h"

namespace retrace {

namespace {

struct DenseNetPlan {
  int width = 64, growth = 32;  // channels of the stem; what each layer adds
  std::array<int, 4> layers;
};

std::optional<NetGraph> densenet(const DenseNetPlan& plan, int width, int classes) {
  if (width * plan.growth % plan.width != 0) return std::nullopt;
  const int growth = width * plan.growth / plan.width;
  constexpr int bottleneck = 4;  // torchvision's bn_size
  GraphBuilder net;
  int x = net.conv(network_input, {.module = "features.conv0",
                                   .norm = "features.norm0",
                                   .out = width,
                                   .kernel = 7,
                                   .stride = 2,
                                   .pad = 3,
                                   .activation = Activation::relu});
  net.stands_for("features.norm0", x);
  net.stands_for("features.relu0", x);
  x = net.max_pool(x, "features.pool0", 3, 2, 1);
  for (int block = 0; block < 4; ++block) {
    const std::string name = fmt::format("features.denseblock{}", block + 1);
    for (int i = 0; i < plan.layers[std::size_t(block)]; ++i) {
      const std::string layer = fmt::format("{}.denselayer{}", name, i + 1);
      const int normed = net.norm(x, layer + ".norm1", Activation::relu);
      net.stands_for(layer + ".relu1", normed);
      const int thin = net.conv(normed, {.module = layer + ".conv1",
                                         .norm = layer + ".norm2",
                                         .out = bottleneck * growth,
                                         .activation = Activation::relu});
      net.stands_for(layer + ".norm2", thin);
      net.stands_for(layer + ".relu2", thin);
      const int added = net.conv(thin, {.module = layer + ".conv2", .out = growth, .kernel = 3, .pad = 1});
      net.stands_for(layer, added);
      // All before and this one, as what comes next reads them.
      x = net.concat({x, added}, i + 1 == plan.layers[std::size_t(block)] ? name : layer + ".concat");
    }
    if (block == 3) break;
    const std::string transition = fmt::format("features.transition{}", block + 1);
    x = net.norm(x, transition + ".norm", Activation::relu);
    net.stands_for(transition + ".relu", x);
    x = net.conv(x, {.module = transition + ".conv", .out = net.channels(x) / 2});
    x = net.avg_pool(x, transition + ".pool", 2, 2);
    net.stands_for(transition, x);
  }
  x = net.norm(x, "features.norm5", Activation::none);
  net.stands_for("features", x);
  x = net.relu(x, "relu");
  net.linear(net.global_avg_pool(x, "avgpool"), "classifier", classes);
  return net.finish("features.norm5");
}

}  // namespace

std::vector<Architecture> densenet_family() {
  std::vector<Architecture> family;
  const auto add = [&](const std::string& name, const DenseNetPlan& plan) {
    family.push_back({{name, "ImageNet DenseNet, 224 x 224, 1000 classes", 1000, {}, {}},
                      plan.width,
                      [plan](int width, int classes) { return densenet(plan, width, classes); }});
  };
  add("densenet121", {64, 32, {6, 12, 24, 16}});
  add("densenet161", {96, 48, {6, 12, 36, 24}});
  add("densenet169", {64, 32, {6, 12, 32, 32}});
  add("densenet201", {64, 32, {6, 12, 48, 32}});
  return family;
}

}  // namespace retrace
