// SqueezeNet (Iandola et al. 2016), torchvision's 1.0 and 1.1: fire modules squeeze by 1 × 1 and expand by 1 × 1 and 3 × 3 side
// by side; the classifier is a convolution with a ReLU, averaged over the image.
#include <fmt/format.h>

#include "engine/models/graph.h"

namespace retrace {

namespace {

std::optional<NetGraph> squeezenet(bool newer, int width, int classes) {
  const int usual = newer ? 64 : 96;
  if (16 * width % usual != 0) return std::nullopt;  // the first squeeze has 16 channels
  const auto scaled = [&](int channels) { return channels * width / usual; };
  GraphBuilder net;
  const auto conv = [&](int x, const std::string& module, int out, int kernel, int stride = 1,
                        bool dropout = false) {
    return net.conv(x, {.module = module,
                        .out = out,
                        .kernel = kernel,
                        .stride = stride,
                        .pad = kernel == 3 && stride == 1 ? 1 : 0,
                        .bias = true,
                        .activation = Activation::relu,
                        .dropout = dropout});
  };
  int x = conv(network_input, "features.0", width, newer ? 3 : 7, 2);
  net.stands_for("features.1", x);
  int module = 2;
  const auto pool = [&] { x = net.max_pool(x, fmt::format("features.{}", module++), 3, 2, 0, true); };
  const auto fire = [&](int squeeze, int expand) {
    const std::string name = fmt::format("features.{}", module++);
    const int s = conv(x, name + ".squeeze", scaled(squeeze), 1);
    const int one = conv(s, name + ".expand1x1", scaled(expand), 1);
    const int three = conv(s, name + ".expand3x3", scaled(expand), 3);
    net.stands_for(name + ".squeeze_activation", s);
    net.stands_for(name + ".expand1x1_activation", one);
    net.stands_for(name + ".expand3x3_activation", three);
    x = net.concat({one, three}, name);
  };
  // Version 1.1 pools earlier, which is what makes it cheaper.
  const int squeezes[] = {16, 16, 32, 32, 48, 48, 64, 64};
  pool();
  for (int i = 0; i < 8; ++i) {
    fire(squeezes[i], 4 * squeezes[i]);
    if (newer ? i == 1 || i == 3 : i == 2 || i == 6) pool();
  }
  net.stands_for("features", x);
  const std::string cam = net.at(x).name;
  x = conv(x, "classifier.1", classes, 1, 1, true);
  net.stands_for("classifier.2", x);
  net.global_avg_pool(x, "classifier.3");
  return net.finish(cam);
}

}  // namespace

std::vector<Architecture> squeezenet_family() {
  std::vector<Architecture> family;
  for (const bool newer : {false, true}) {
    family.push_back({{newer ? "squeezenet1_1" : "squeezenet1_0",
                       fmt::format("ImageNet SqueezeNet 1.{}, 224 x 224, 1000 classes", newer ? 1 : 0),
                       1000,
                       {},
                       {}},
                      newer ? 64 : 96,
                      [newer](int width, int classes) { return squeezenet(newer, width, classes); }});
  }
  return family;
}

}  // namespace retrace
