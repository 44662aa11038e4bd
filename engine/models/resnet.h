// Residual networks (He et al. 2016; ResNeXt: Xie et al. 2017; wide: Zagoruyko & Komodakis 2016): torchvision's, and the
// narrow ones for 32 × 32 pictures.
#pragma once
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "engine/models/model.h"
#include "engine/train/network.h"

namespace retrace {

struct ResNetPlan {
  ModelInfo info;
  bool bottleneck = false;
  bool cifar = false;  // 3 × 3 stem, three stages, option-A shortcuts, final layer "linear"
  std::vector<int> blocks;
  int width = 64;  // channels of the first stage
  // Bottlenecks: the middle convolution's groups, and the channels of each per 64 of the stage's (torchvision's
  // width_per_group): 1 and 64 in a ResNet, 1 and 128 in a wide one, 32 and 4 in ResNeXt-50 32x4d.
  int groups = 1, group_width = 64;
};

// One convolution and the batch norm behind it.
struct ConvPlan {
  std::string name, norm;  // modules: "layer1.0.conv1", "layer1.0.bn1"
  int in = 0, out = 0, kernel = 1, stride = 1, pad = 0, groups = 1;
  ConvGeometry geometry() const {
    return {.stride_h = stride, .stride_w = stride, .pad_h = pad, .pad_w = pad, .groups = groups};
  }
};

struct BlockPlan {
  std::string name;                  // "layer1.0"
  std::vector<ConvPlan> convs;       // two, or three in a bottleneck; the last is added to the skip
  std::vector<ConvPlan> downsample;  // empty or one
  int shortcut_channels = 0;         // option A: widen to so many; 0: identity or downsample
  int shortcut_stride = 1;
};

struct NetPlan {
  ConvPlan stem;
  bool stem_pool = false;
  std::vector<BlockPlan> blocks;
  std::string head;  // "fc" or "linear"
  int features = 0;
};

const std::vector<ResNetPlan>& resnet_catalog();
NetPlan expand(const ResNetPlan& plan);
// Every convolution in the order its parameters are listed.
std::vector<ConvPlan> convolutions(const NetPlan& net);

// How the parts with parameters are put onto a tape: for inference one fused convolution, in training a convolution
// and a batch norm. The last node gets the name given.
struct ResNetParts {
  std::function<NodeId(const ConvPlan&, NodeId x, const Fused&, const std::string& name)> conv;
  std::function<NodeId(NodeId x, const std::string& name)> head;
};
// Runs the network from `input`; the node of the logits.
NodeId run_resnet(const NetPlan& net, Tape& tape, NodeId input, const ResNetParts& parts);

// folded: values are in the order of model_parameters(…, true), else of model_parameters(…, false).
std::unique_ptr<Model> build_resnet(Device& device, const ResNetPlan& plan, int classes, bool folded,
                                    const std::vector<ParameterValue>& values);

// Values in the order of the specs, model_parameters(…).
std::unique_ptr<TrainableNetwork> build_trainable_resnet(Device& device, const ResNetPlan& plan,
                                                         std::vector<ParameterSpec> specs,
                                                         const std::vector<ParameterValue>& values);

}  // namespace retrace
