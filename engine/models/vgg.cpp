// VGG (Simonyan & Zisserman 2015), with and without batch norm, and AlexNet (Krizhevsky 2014, "one weird trick"), as in
// torchvision: a chain of convolutions and max-pools ("features"), an adaptive average pool, three fully connected layers
// ("classifier").
#include <fmt/format.h>

#include "engine/models/graph.h"

namespace retrace {

namespace {

// The pool, and layers classifier.first, classifier.second and classifier.third: hidden, hidden, classes.
void classify(GraphBuilder& net, int x, int size, int hidden, int classes, const std::array<int, 3>& numbers,
              const std::array<bool, 3>& dropout) {
  x = net.adaptive_avg_pool(x, "avgpool", size);
  for (int i = 0; i < 3; ++i) {
    const std::string module = fmt::format("classifier.{}", numbers[std::size_t(i)]);
    x = net.linear(x, module, i == 2 ? classes : hidden, i == 2 ? Activation::none : Activation::relu,
                   dropout[std::size_t(i)]);
    if (i < 2) net.stands_for(fmt::format("classifier.{}", numbers[std::size_t(i)] + 1), x);
  }
}

// convs: convolutions in each of the five stages of 64, 128, 256, 512 and 512 channels.
std::optional<NetGraph> vgg(const std::array<int, 5>& convs, bool batch_norm, int width, int classes) {
  GraphBuilder net;
  int x = network_input, module = 0;
  for (int stage = 0; stage < 5; ++stage) {
    for (int i = 0; i < convs[std::size_t(stage)]; ++i) {
      GraphBuilder::Conv conv{.module = fmt::format("features.{}", module++),
                              .out = width << std::min(stage, 3),
                              .kernel = 3,
                              .pad = 1,
                              .bias = true,
                              .activation = Activation::relu};
      if (batch_norm) conv.norm = fmt::format("features.{}", module++);
      x = net.conv(x, conv);
      if (batch_norm) net.stands_for(conv.norm, x);
      net.stands_for(fmt::format("features.{}", module++), x);  // the ReLU
    }
    x = net.max_pool(x, fmt::format("features.{}", module++), 2, 2);
  }
  net.stands_for("features", x);
  const std::string cam = net.at(x).name;
  classify(net, x, 7, 64 * width, classes, {0, 3, 6}, {false, true, true});
  return net.finish(cam);
}

std::optional<NetGraph> alexnet(int width, int classes) {
  if (width % 8 != 0) return std::nullopt;  // 192, 384 and 256 to 64
  GraphBuilder net;
  const auto conv = [&](int x, int module, int out, int kernel, int stride, int pad) {
    x = net.conv(x, {.module = fmt::format("features.{}", module),
                     .out = out,
                     .kernel = kernel,
                     .stride = stride,
                     .pad = pad,
                     .bias = true,
                     .activation = Activation::relu});
    net.stands_for(fmt::format("features.{}", module + 1), x);
    return x;
  };
  int x = conv(network_input, 0, width, 11, 4, 2);
  x = net.max_pool(x, "features.2", 3, 2);
  x = conv(x, 3, 3 * width, 5, 1, 2);
  x = net.max_pool(x, "features.5", 3, 2);
  x = conv(x, 6, 6 * width, 3, 1, 1);
  x = conv(x, 8, 4 * width, 3, 1, 1);
  x = conv(x, 10, 4 * width, 3, 1, 1);
  x = net.max_pool(x, "features.12", 3, 2);
  net.stands_for("features", x);
  classify(net, x, 6, 64 * width, classes, {1, 4, 6}, {true, true, false});
  return net.finish("features.12");
}

}  // namespace

std::vector<Architecture> vgg_family() {
  std::vector<Architecture> family;
  const auto add = [&](const std::string& name, const std::string& kind, auto graph) {
    family.push_back({{name, "ImageNet " + kind + ", 224 x 224, 1000 classes", 1000, {}, {}}, 64, graph});
  };
  const std::vector<std::pair<int, std::array<int, 5>>> depths{
      {11, {1, 1, 2, 2, 2}}, {13, {2, 2, 2, 2, 2}}, {16, {2, 2, 3, 3, 3}}, {19, {2, 2, 4, 4, 4}}};
  for (const bool batch_norm : {false, true}) {
    for (const auto& [depth, convs] : depths) {
      add(fmt::format("vgg{}{}", depth, batch_norm ? "_bn" : ""), batch_norm ? "VGG with batch norm" : "VGG",
          [convs = convs, batch_norm](int width, int classes) {
            return vgg(convs, batch_norm, width, classes);
          });
    }
  }
  add("alexnet", "AlexNet", alexnet);
  return family;
}

}  // namespace retrace
