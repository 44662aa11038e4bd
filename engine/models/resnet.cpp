// Residual networks (He et al. 2016; ResNeXt: Xie et al. 2017; wide: Zagoruyko & Komodakis 2016): torchvision's, and the
// narrow ones for 32 × 32 pictures.
#include <fmt/format.h>

#include "engine/models/graph.h"

namespace retrace {

namespace {

struct ResNetPlan {
  bool bottleneck = false;
  bool cifar = false;  // 3 × 3 stem, three stages, option-A shortcuts, final layer "linear"
  std::vector<int> blocks;
  // Bottlenecks: the middle convolution's groups, and the channels of each per 64 of the stage's (torchvision's
  // width_per_group): 1 and 64 in a ResNet, 1 and 128 in a wide one, 32 and 4 in ResNeXt-50 32x4d.
  int groups = 1, group_width = 64;
};

std::optional<NetGraph> graph_of(const ResNetPlan& plan, int width, int classes) {
  if (width * plan.group_width % 64 != 0) return std::nullopt;  // groups of a fraction of a channel
  GraphBuilder net;
  const auto conv = [&](int x, const std::string& module, const std::string& norm, int out, int kernel,
                        int stride) {
    return GraphBuilder::Conv{.name = module,
                              .module = module,
                              .norm = norm,
                              .out = out,
                              .kernel = kernel,
                              .stride = stride,
                              .pad = kernel / 2,
                              .activation = x == no_layer ? Activation::none : Activation::relu};
  };
  int x = net.conv(network_input,
                   conv(network_input, "conv1", "bn1", width, plan.cifar ? 3 : 7, plan.cifar ? 1 : 2));
  if (!plan.cifar) x = net.max_pool(x, "maxpool", 3, 2, 1);
  for (std::size_t stage = 0; stage < plan.blocks.size(); ++stage) {
    const int thin = width << stage, out = plan.bottleneck ? 4 * thin : thin;
    for (int b = 0; b < plan.blocks[stage]; ++b) {
      const std::string block = fmt::format("layer{}.{}", stage + 1, b);
      const int stride = b == 0 && stage > 0 ? 2 : 1;
      int skip = x, downsample = no_layer;
      if (stride != 1 || net.channels(x) != out) {
        if (plan.cifar) {
          skip = net.shortcut(x, block + ".shortcut", out, stride);
        } else {
          auto c = conv(no_layer, block + ".downsample.0", block + ".downsample.1", out, 1, stride);
          c.name = block + ".downsample";
          skip = downsample = net.conv(x, c);
        }
      }
      // The block's convolutions, the last of which is added to the skip.
      int number = 0;
      const auto next = [&](int channels, int kernel, int step, int groups, bool last) {
        ++number;
        auto c = conv(x, fmt::format("{}.conv{}", block, number), fmt::format("{}.bn{}", block, number),
                      channels, kernel, step);
        c.groups = groups;
        if (last) {
          c.name = block;
          c.residual = skip;
          net.residual_scale(c.norm);
        }
        x = net.conv(x, c);
      };
      if (plan.bottleneck) {
        const int middle = thin * plan.group_width / 64 * plan.groups;
        next(middle, 1, 1, 1, false);
        next(middle, 3, stride, plan.groups, false);
        next(out, 1, 1, 1, true);
      } else {
        next(thin, 3, stride, 1, false);
        next(thin, 3, 1, 1, true);
      }
      if (downsample != no_layer) net.list_last(downsample);
    }
    net.stands_for(fmt::format("layer{}", stage + 1), x);
  }
  const std::string cam = net.at(x).name;
  net.linear(net.global_avg_pool(x, "avgpool"), plan.cifar ? "linear" : "fc", classes, Activation::none,
             true);
  return net.finish(cam);
}

}  // namespace

std::vector<Architecture> resnet_family() {
  std::vector<Architecture> family;
  const auto add = [&](ModelInfo info, int width, ResNetPlan plan) {
    family.push_back({std::move(info), width, [plan = std::move(plan)](int channels, int classes) {
                        return graph_of(plan, channels, classes);
                      }});
  };
  const auto imagenet = [&](const std::string& name, const std::string& kind, ResNetPlan plan) {
    add({name, "ImageNet " + kind + ", 224 x 224, 1000 classes", 1000, {}, {}}, 64, std::move(plan));
  };
  imagenet("resnet18", "ResNet", {false, false, {2, 2, 2, 2}});
  imagenet("resnet34", "ResNet", {false, false, {3, 4, 6, 3}});
  imagenet("resnet50", "ResNet", {true, false, {3, 4, 6, 3}});
  imagenet("resnet101", "ResNet", {true, false, {3, 4, 23, 3}});
  imagenet("resnet152", "ResNet", {true, false, {3, 8, 36, 3}});
  imagenet("wide_resnet50_2", "wide ResNet", {true, false, {3, 4, 6, 3}, 1, 128});
  imagenet("wide_resnet101_2", "wide ResNet", {true, false, {3, 4, 23, 3}, 1, 128});
  imagenet("resnext50_32x4d", "ResNeXt", {true, false, {3, 4, 6, 3}, 32, 4});
  imagenet("resnext101_32x8d", "ResNeXt", {true, false, {3, 4, 23, 3}, 32, 8});
  imagenet("resnext101_64x4d", "ResNeXt", {true, false, {3, 4, 23, 3}, 64, 4});
  for (const int depth : {20, 32, 44, 56, 110}) {
    const int n = (depth - 2) / 6;
    ModelInput input;
    input.resize = 0;
    input.crop = 32;
    add({fmt::format("cifar_resnet{}", depth),
         "CIFAR-10 ResNet, 32 x 32, 10 classes, option-A shortcuts",
         10,
         {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
         input},
        16, {false, true, {n, n, n}});
  }
  return family;
}

}  // namespace retrace
