// A model: an architecture with torchvision's names, and weights prepared for inference and explanation (batch norm
// folded into the convolutions).
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/tape.h"

namespace retrace {

// How a picture becomes the input the model was trained on.
struct ModelInput {
  int resize = 256;  // the shorter side, before the crop; 0: both sides are resized to `crop`
  int crop = 224;    // the centre square that is taken
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};
  std::array<float, 3> std{0.229f, 0.224f, 0.225f};
};

struct ModelInfo {
  std::string name;
  std::string description;
  int classes = 1000;
  std::vector<std::string> labels = {};  // one per class, where they are common knowledge
  ModelInput input;
};

struct ParameterSpec {
  std::string name;  // as in the checkpoint: "layer1.0.conv1.weight"
  Shape shape;       // as in the checkpoint: convolutions KCRS
  int side =
      0;  // a fully connected weight [K, C · side · side] over a flattened image of that side; 0: over a vector
};

// One tensor of a checkpoint, in the order of the specs.
struct ParameterValue {
  Shape shape;
  std::vector<float> values;
};

class Model {
 public:
  virtual ~Model() = default;
  const ModelInfo& info() const { return info_; }
  // What a checkpoint says about its own classes and input, instead of the catalog's. Error if the number of labels,
  // unless 0, is not the number of classes.
  void describe(std::vector<std::string> labels, const ModelInput& input);
  // Runs a batch (input: [N, H, W, 3], normalised) onto the tape; returns the node of the logits [N, classes].
  // Nodes are named as torchvision names modules: a block's output is "layer1.0", its first convolution
  // "layer1.0.conv1".
  virtual NodeId forward(Tape& tape, NodeId input) const = 0;
  // The layer explanations of the CAM family look at unless told otherwise: the last with spatial extent.
  virtual std::string cam_layer() const = 0;
  // A layer by its node's name, or by a name that stands for one: a stage ("layer4") is its last block. UsageError
  // listing the tape's layers if there is none.
  virtual NodeId layer(const Tape& tape, const std::string& name) const = 0;

 protected:
  explicit Model(ModelInfo info) : info_(std::move(info)) {}
  ModelInfo info_;
};

// Every architecture there is.
const std::vector<ModelInfo>& model_catalog();
// UsageError listing the names if there is none such.
const ModelInfo& model_info(const std::string& name);
bool is_model(const std::string& name);

// What a checkpoint of this architecture must hold; `classes` is the size of its head (0: the catalog's). A folded
// checkpoint has a bias beside each convolution instead of the batch norm behind it.
std::vector<ParameterSpec> model_parameters(const std::string& name, int classes = 0, bool folded = false);

// Names of the batch-norm scales that end a residual branch: "layer1.0.bn2.weight".
std::vector<std::string> residual_scales(const std::string& name);

// The same values with batch norm folded into the convolutions, in the order of the folded parameters.
std::vector<ParameterValue> fold_model(const std::string& name, int classes,
                                       const std::vector<ParameterValue>& values);

// Builds the model on a device from values in the order of model_parameters(name, classes, true).
std::unique_ptr<Model> build_model(Device& device, const std::string& name, int classes,
                                   const std::vector<ParameterValue>& folded_values);

// The same network from values in the order of model_parameters(name, classes), every batch norm a step of its own:
// slower, and what folding is measured against.
std::unique_ptr<Model> build_unfolded_model(Device& device, const std::string& name, int classes,
                                            const std::vector<ParameterValue>& values);

}  // namespace retrace
