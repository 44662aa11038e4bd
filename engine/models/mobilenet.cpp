// MobileNetV2 (Sandler et al. 2018), torchvision's: inverted residuals (expand by 1 × 1, filter each channel by 3 × 3,
// project by 1 × 1 without an activation), ReLU6.
#include <fmt/format.h>

#include <algorithm>

#include "engine/models/graph.h"

namespace retrace {

namespace {

constexpr int usual_width = 32;

// Channels times width / 32, as torchvision rounds them (width_mult): a multiple of 8, not below nine tenths.
int scaled(int channels, int width) {
  const int nearest = std::max(8, (2 * channels * width + 8 * usual_width) / (16 * usual_width) * 8);
  return 10 * nearest * usual_width < 9 * channels * width ? nearest + 8 : nearest;
}

std::optional<NetGraph> mobilenet_v2(int width, int classes) {
  if (scaled(usual_width, width) != width) return std::nullopt;  // a stem has a multiple of 8 channels
  GraphBuilder net;
  // A convolution, its batch norm and, but for projections, ReLU6. container: the module that holds all three.
  const auto conv = [&](int x, const std::string& module, const std::string& norm, int out, int kernel,
                        int stride, int groups, const std::string& container) {
    x = net.conv(x, {.module = module,
                     .norm = norm,
                     .out = out,
                     .kernel = kernel,
                     .stride = stride,
                     .pad = kernel / 2,
                     .groups = groups,
                     .activation = Activation::relu6});
    net.stands_for(container, x);
    return x;
  };
  const auto three = [&](int x, const std::string& container, int out, int kernel, int stride, int groups) {
    return conv(x, container + ".0", container + ".1", out, kernel, stride, groups, container);
  };
  int x = three(network_input, "features.0", width, 3, 2, 1), module = 1;
  const struct {
    int expansion, channels, blocks, stride;
  } stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  for (const auto& stage : stages) {
    const int out = scaled(stage.channels, width);
    for (int b = 0; b < stage.blocks; ++b) {
      const std::string name = fmt::format("features.{}", module++);
      const int in = net.channels(x), middle = in * stage.expansion, stride = b == 0 ? stage.stride : 1;
      int h = x, part = 0;
      const auto next = [&] { return fmt::format("{}.conv.{}", name, part++); };
      if (stage.expansion != 1) h = three(h, next(), middle, 1, 1, 1);
      h = three(h, next(), middle, 3, stride, middle);
      const std::string project = next(), norm = next();
      GraphBuilder::Conv last{.name = name, .module = project, .norm = norm, .out = out};
      if (stride == 1 && in == out) {
        last.residual = x;
        net.residual_scale(norm);
      }
      x = net.conv(h, last);
      net.stands_for(name + ".conv", x);
    }
  }
  x = three(x, fmt::format("features.{}", module), scaled(1280, std::max(width, usual_width)), 1, 1, 1);
  net.stands_for("features", x);
  const std::string cam = net.at(x).name;
  net.linear(net.global_avg_pool(x, "avgpool"), "classifier.1", classes, Activation::none, true);
  return net.finish(cam);
}

}  // namespace

std::vector<Architecture> mobilenet_family() {
  return {{{"mobilenet_v2", "ImageNet MobileNetV2, 224 x 224, 1000 classes", 1000, {}, {}},
           usual_width,
           mobilenet_v2}};
}

}  // namespace retrace
