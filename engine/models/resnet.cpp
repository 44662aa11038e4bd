#include "engine/models/resnet.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "weights/layout.h"

namespace retrace {

const std::vector<ResNetPlan>& resnet_catalog() {
  static const std::vector<ResNetPlan> catalog = [] {
    std::vector<ResNetPlan> plans;
    const auto imagenet = [&](int depth, bool bottleneck, std::vector<int> blocks) {
      plans.push_back(
          {{fmt::format("resnet{}", depth), "ImageNet ResNet, 224 x 224, 1000 classes", 1000, {}, {}},
           bottleneck,
           false,
           std::move(blocks),
           64});
    };
    imagenet(18, false, {2, 2, 2, 2});
    imagenet(34, false, {3, 4, 6, 3});
    imagenet(50, true, {3, 4, 6, 3});
    imagenet(101, true, {3, 4, 23, 3});
    imagenet(152, true, {3, 8, 36, 3});
    const auto grouped = [&](const std::string& name, const std::string& kind, std::vector<int> blocks,
                             int groups, int group_width) {
      plans.push_back({{name, "ImageNet " + kind + ", 224 x 224, 1000 classes", 1000, {}, {}},
                       true,
                       false,
                       std::move(blocks),
                       64,
                       groups,
                       group_width});
    };
    grouped("wide_resnet50_2", "wide ResNet", {3, 4, 6, 3}, 1, 128);
    grouped("wide_resnet101_2", "wide ResNet", {3, 4, 23, 3}, 1, 128);
    grouped("resnext50_32x4d", "ResNeXt", {3, 4, 6, 3}, 32, 4);
    grouped("resnext101_32x8d", "ResNeXt", {3, 4, 23, 3}, 32, 8);
    grouped("resnext101_64x4d", "ResNeXt", {3, 4, 23, 3}, 64, 4);
    for (const int depth : {20, 32, 44, 56, 110}) {
      const int n = (depth - 2) / 6;
      ModelInput input;
      input.resize = 0;
      input.crop = 32;
      plans.push_back(
          {{fmt::format("cifar_resnet{}", depth),
            "CIFAR-10 ResNet, 32 x 32, 10 classes, option-A shortcuts",
            10,
            {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
            input},
           false,
           true,
           {n, n, n},
           16});
    }
    return plans;
  }();
  return catalog;
}

NetPlan expand(const ResNetPlan& plan) {
  NetPlan net;
  net.stem = {"conv1", "bn1", 3, plan.width, plan.cifar ? 3 : 7, plan.cifar ? 1 : 2, plan.cifar ? 1 : 3};
  net.stem_pool = !plan.cifar;
  net.head = plan.cifar ? "linear" : "fc";
  int in = plan.width;
  for (std::size_t stage = 0; stage < plan.blocks.size(); ++stage) {
    const int width = plan.width << stage, out = plan.bottleneck ? 4 * width : width;
    for (int b = 0; b < plan.blocks[stage]; ++b) {
      BlockPlan block;
      block.name = fmt::format("layer{}.{}", stage + 1, b);
      const int stride = b == 0 && stage > 0 ? 2 : 1;
      const auto conv = [&](int number, int from, int to, int kernel, int step, int groups = 1) {
        block.convs.push_back({fmt::format("{}.conv{}", block.name, number),
                               fmt::format("{}.bn{}", block.name, number), from, to, kernel, step, kernel / 2,
                               groups});
      };
      if (plan.bottleneck) {
        const int middle = width * plan.group_width / 64 * plan.groups;
        conv(1, in, middle, 1, 1);
        conv(2, middle, middle, 3, stride, plan.groups);
        conv(3, middle, out, 1, 1);
      } else {
        conv(1, in, width, 3, stride);
        conv(2, width, width, 3, 1);
      }
      if (stride != 1 || in != out) {
        if (plan.cifar) {
          block.shortcut_channels = out;
          block.shortcut_stride = stride;
        } else {
          block.downsample.push_back(
              {block.name + ".downsample.0", block.name + ".downsample.1", in, out, 1, stride, 0});
        }
      }
      in = out;
      net.blocks.push_back(std::move(block));
    }
  }
  net.features = in;
  return net;
}

std::vector<ConvPlan> convolutions(const NetPlan& net) {
  std::vector<ConvPlan> convs{net.stem};
  for (const BlockPlan& block : net.blocks) {
    convs.insert(convs.end(), block.convs.begin(), block.convs.end());
    convs.insert(convs.end(), block.downsample.begin(), block.downsample.end());
  }
  return convs;
}

NodeId run_resnet(const NetPlan& net, Tape& tape, NodeId input, const ResNetParts& parts) {
  NodeId x = parts.conv(net.stem, input, {.relu = true}, net.stem.name);
  if (net.stem_pool) {
    x = tape.max_pool(x, {.r = 3, .s = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1}, "maxpool");
  }
  for (const BlockPlan& block : net.blocks) {
    NodeId skip = x;
    if (block.shortcut_channels) {
      skip = tape.shortcut(x, block.shortcut_channels, block.shortcut_stride, block.name + ".shortcut");
    } else if (!block.downsample.empty()) {
      skip = parts.conv(block.downsample[0], x, {}, block.name + ".downsample");
    }
    for (std::size_t i = 0; i + 1 < block.convs.size(); ++i) {
      x = parts.conv(block.convs[i], x, {.relu = true}, block.convs[i].name);
    }
    x = parts.conv(block.convs.back(), x, {.residual = skip, .relu = true}, block.name);
  }
  return parts.head(tape.global_avg_pool(x, "avgpool"), net.head);
}

namespace {

class ResNet final : public Model {
 public:
  ResNet(Device& device, const ResNetPlan& plan, int classes, bool folded,
         const std::vector<ParameterValue>& values)
      : Model(plan.info), net_(expand(plan)), stages_(plan.blocks) {
    if (classes != info_.classes) info_.labels.clear();  // somebody else's head
    info_.classes = classes;
    std::size_t next = 0;
    const auto conv = [&](const ConvPlan& c) {
      const ParameterValue& w = values.at(next);
      const std::int64_t K = w.shape[0], C = w.shape[1], R = w.shape[2], S = w.shape[3];
      const std::vector<float> krsc = weights::kcrs_to_krsc(w.values, K, C, R, S);
      Tensor bias;
      if (folded) {
        bias = Tensor::from_host(device, {K}, values.at(next + 1).values);
        next += 2;
      } else {
        norms_[c.name] = norm_map(device, c.norm, &values.at(next + 1));
        next += 5;
      }
      maps_[c.name] =
          std::make_shared<LinearMap>(c.name, Tensor::from_host(device, {K, R, S, C}, krsc), bias);
    };
    conv(net_.stem);
    for (const BlockPlan& block : net_.blocks) {
      for (const ConvPlan& c : block.convs) conv(c);
      for (const ConvPlan& c : block.downsample) conv(c);
    }
    const ParameterValue &w = values.at(next), &b = values.at(next + 1);
    maps_[net_.head] = std::make_shared<LinearMap>(net_.head, Tensor::from_host(device, w.shape, w.values),
                                                   Tensor::from_host(device, b.shape, b.values));
  }

  NodeId forward(Tape& tape, NodeId input) const override {
    return run_resnet(
        net_, tape, input,
        {[&](const ConvPlan& c, NodeId x, const Fused& fused, const std::string& name) {
           const auto norm = norms_.find(c.name);
           if (norm == norms_.end()) return tape.conv2d(x, maps_.at(c.name), c.geometry(), fused, name);
           return tape.conv2d(tape.conv2d(x, maps_.at(c.name), c.geometry(), {}, c.name + ".sum"),
                              norm->second, {}, fused, name);
         },
         [&](NodeId x, const std::string& name) { return tape.linear(x, maps_.at(name), {}, name); }});
  }

  std::string cam_layer() const override { return net_.blocks.back().name; }

  NodeId layer(const Tape& tape, const std::string& name) const override {
    std::string wanted = name;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      if (name == fmt::format("layer{}", stage + 1)) wanted = fmt::format("{}.{}", name, stages_[stage] - 1);
    }
    if (const NodeId id = tape.find(wanted); id != no_node) return id;
    std::string known;
    for (NodeId id = 0; id < tape.size(); ++id) known += (id ? ", " : "") + tape.node(id).name;
    throw UsageError(fmt::format("layer '{}': model {} has {}", name, info_.name, known));
  }

 private:
  // Batch norm's scale, bias, mean and variance as a convolution of 1 x 1 with a diagonal matrix.
  static std::shared_ptr<const LinearMap> norm_map(Device& device, const std::string& name,
                                                   const ParameterValue* parts) {
    constexpr double epsilon = 1e-5;  // torch.nn.BatchNorm2d's
    const std::size_t K = parts[0].values.size();
    std::vector<float> weight(K * K), bias(K);
    for (std::size_t k = 0; k < K; ++k) {
      const double scale = parts[0].values[k] / std::sqrt(double(parts[3].values[k]) + epsilon);
      weight[k * K + k] = float(scale);
      bias[k] = float(parts[1].values[k] - scale * parts[2].values[k]);
    }
    const auto n = std::int64_t(K);
    return std::make_shared<LinearMap>(name, Tensor::from_host(device, {n, 1, 1, n}, weight),
                                       Tensor::from_host(device, {n}, bias));
  }

  NetPlan net_;
  std::vector<int> stages_;
  std::map<std::string, std::shared_ptr<const LinearMap>> maps_;
  std::map<std::string, std::shared_ptr<const LinearMap>> norms_;  // by their convolutions; none when folded
};

}  // namespace

std::unique_ptr<Model> build_resnet(Device& device, const ResNetPlan& plan, int classes, bool folded,
                                    const std::vector<ParameterValue>& values) {
  return std::make_unique<ResNet>(device, plan, classes, folded, values);
}

}  // namespace retrace
