// A network as data: what a family of models describes, and everything else is derived from: parameters and their order, the
// run on a tape for inference and for training, names of layers, and the comparison with an ONNX graph.
#pragma once
#include <array>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/models/model.h"
#include "engine/train/network.h"

namespace retrace {

enum class LayerKind : std::uint8_t {
  conv,    // with a batch norm behind it (folded into it for inference) or without, a sum and an activation
  linear,  // of [N, C], or of NHWC flattened as PyTorch does, channels first
  norm,    // a batch norm that no convolution precedes: y = k x + b, channel by channel
  relu,    // an activation that nothing precedes it could be fused with
  max_pool,
  avg_pool,
  global_avg_pool,    // [N, C]
  adaptive_avg_pool,  // torch.nn.AdaptiveAvgPool2d
  shortcut,           // option A of He et al. 2016
  concat              // of channels
};

enum class Activation : std::uint8_t { none, relu, relu6 };

inline constexpr double batch_norm_epsilon = 1e-5;  // torch.nn.BatchNorm2d's, in every network here
// A batch norm's tensors, in a checkpoint's order.
inline constexpr std::array<const char*, 4> norm_parts{"weight", "bias", "running_mean", "running_var"};

inline constexpr int network_input = -1;  // where a layer's index is expected
inline constexpr int no_layer = -2;

// Everything is square, as in the networks known here.
struct LayerPlan {
  LayerKind kind = LayerKind::conv;
  std::string name;         // of its node on the tape: what it is after the sum and the activation
  std::vector<int> x;       // the layers it reads; concat: in order; all others: one
  int residual = no_layer;  // conv: the layer that is added before the activation
  Activation activation = Activation::none;  // conv, linear, norm, relu

  // conv, linear, norm
  std::string module;   // "layer1.0.conv1": its parameters are module + ".weight", …
  std::string norm;     // conv: the module of the batch norm behind it; empty: none
  bool bias = false;    // conv, linear: has one of its own (folded convolutions always have one)
  int in = 0, out = 0;  // channels; linear: in is per pixel of what is flattened
  int groups = 1;
  bool dropout = false;  // linear, conv: in training a dropout in front

  int kernel = 1, stride = 1, pad = 0;  // conv, max_pool, avg_pool; shortcut: stride
  bool ceil_mode = false;               // max_pool
  int size = 0;  // adaptive_avg_pool: the output's side; linear: the input's (0: not spatial)
};

struct NetGraph {
  std::vector<LayerPlan> layers;  // in the order they run; the last makes the logits
  std::vector<int> listed;        // those with parameters, in a checkpoint's order; the head last
  std::string cam_layer;          // the node explanations of the CAM family look at
  std::map<std::string, std::string>
      stands_for;                            // further names of nodes: modules inside a fused node, stages
  std::vector<std::string> residual_scales;  // batch norms' weights that end a residual branch

  const LayerPlan& head() const { return layers[std::size_t(listed.back())]; }
};

// One entry of the catalog. `width`: channels of the first stage, in which a model may be made narrower or wider:
// resnet18_w16 is resnet18 with 16 instead of 64 and everything else in proportion.
struct Architecture {
  ModelInfo info;
  int width = 64;
  // Null for a width it does not come in. `classes`: of the head.
  std::function<std::optional<NetGraph>(int width, int classes)> graph;
};

std::vector<Architecture> resnet_family();
std::vector<Architecture> vgg_family();  // and AlexNet
std::vector<Architecture> squeezenet_family();
std::vector<Architecture> mobilenet_family();
std::vector<Architecture> densenet_family();

// The network of a model's name with so many classes (0: the catalog's). UsageError if there is no such model.
NetGraph model_graph(const std::string& name, int classes = 0);

// Writes a NetGraph down layer by layer. Every function returns the new layer's index.
class GraphBuilder {
 public:
  struct Conv {
    std::string name{};  // of the node; empty: the module's
    std::string module{}, norm{};
    int out = 0, kernel = 1, stride = 1, pad = 0, groups = 1;
    bool bias = false;
    Activation activation = Activation::none;
    int residual = no_layer;
    bool dropout = false;
  };
  int conv(int x, const Conv& conv);
  int linear(int x, const std::string& module, int out, Activation activation = Activation::none,
             bool dropout = false);
  int norm(int x, const std::string& module, Activation activation);
  int relu(int x, const std::string& name);
  int max_pool(int x, const std::string& name, int kernel, int stride, int pad = 0, bool ceil_mode = false);
  int avg_pool(int x, const std::string& name, int kernel, int stride);
  int global_avg_pool(int x, const std::string& name);
  int adaptive_avg_pool(int x, const std::string& name, int size);
  int shortcut(int x, const std::string& name, int out, int stride);
  int concat(const std::vector<int>& x, const std::string& name);

  // name: one that stands for the layer.
  void stands_for(const std::string& name, int layer) { graph_.stands_for[name] = at(layer).name; }
  void residual_scale(const std::string& norm) { graph_.residual_scales.push_back(norm + ".weight"); }
  int channels(int layer) const { return channels_.at(std::size_t(layer + 1)); }
  const LayerPlan& at(int layer) const { return graph_.layers.at(std::size_t(layer)); }
  // Moves the listed layer `layer` to the end of what is listed so far: a checkpoint may list in another order.
  void list_last(int layer);

  NetGraph finish(const std::string& cam_layer);

 private:
  int append(LayerPlan plan, int channels);

  NetGraph graph_;
  std::vector<int> channels_{3};  // of the input, then of every layer
  std::vector<int> sizes_{0};     // the side after an adaptive pool, 0 where it depends on the picture
};

// What a checkpoint holds for a graph, and what folding makes of its values.
std::vector<ParameterSpec> graph_parameters(const NetGraph& graph, bool folded);
std::vector<ParameterValue> fold_graph(const NetGraph& graph, const std::vector<ParameterValue>& values);

// Parameters of a graph's layers on a device, by layer. Linear weights that read a flattened image are reordered to
// ours, channels last.
std::unique_ptr<Model> build_graph_model(Device& device, ModelInfo info, NetGraph graph, bool folded,
                                         const std::vector<ParameterValue>& values);
std::unique_ptr<TrainableNetwork> build_trainable_graph(Device& device, NetGraph graph,
                                                        const std::vector<ParameterValue>& values);

// How layers with parameters are put onto a tape. Activation::relu may be fused, relu6 is added by run_graph.
struct GraphParts {
  std::function<NodeId(const LayerPlan&, NodeId x, const Fused&, const std::string&name)> conv, linear, norm;
};
// Runs the network from `input`; the node of the logits.
NodeId run_graph(const NetGraph& graph, Tape& tape, NodeId input, const GraphParts& parts);

}  // namespace retrace
