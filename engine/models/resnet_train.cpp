// ResNets in training.
#include "engine/models/resnet.h"

namespace retrace {

namespace {

class TrainableResNet final : public TrainableNetwork {
 public:
  TrainableResNet(Device& device, const ResNetPlan& plan, std::vector<ParameterSpec> specs,
                  const std::vector<ParameterValue>& values)
      : TrainableNetwork(device, std::move(specs), values), net_(expand(plan)) {
    const auto value = [&](const std::string& name) { return parameters_.at(name).value; };
    const auto gradient = [&](const std::string& name) { return parameters_.at(name).gradient; };
    for (const ConvPlan& c : convolutions(net_)) {
      auto map = std::make_shared<const LinearMap>(c.name, value(c.name + ".weight"), Tensor());
      slots_[map.get()] = {gradient(c.name + ".weight"), {}};
      auto norm = std::make_shared<const BatchNorm>(
          BatchNorm{c.norm, value(c.norm + ".weight"), value(c.norm + ".bias"),
                    value(c.norm + ".running_mean"), value(c.norm + ".running_var")});
      slots_[norm.get()] = {gradient(c.norm + ".weight"), gradient(c.norm + ".bias")};
      layers_[c.name] = {std::move(map), std::move(norm)};
    }
    const std::string weight = net_.head + ".weight", bias = net_.head + ".bias";
    head_ = std::make_shared<const LinearMap>(net_.head, value(weight), value(bias));
    slots_[head_.get()] = {gradient(weight), gradient(bias)};
  }

  NodeId forward(Tape& tape, NodeId input, const DropoutPlan& dropout) const override {
    const auto conv = [&](const ConvPlan& c, NodeId x, const Fused& fused, const std::string& name) {
      const Layer& layer = layers_.at(c.name);
      return tape.batch_norm(tape.conv2d(x, layer.map, c.geometry(), {}, c.name + ".sum"), layer.norm, fused,
                             name);
    };
    const auto head = [&](NodeId x, const std::string& name) {
      return tape.linear(dropout.p > 0 ? tape.dropout(x, dropout, "dropout") : x, head_, {}, name);
    };
    return run_resnet(net_, tape, input, {conv, head});
  }

 private:
  struct Layer {
    std::shared_ptr<const LinearMap> map;
    std::shared_ptr<const BatchNorm> norm;
  };
  NetPlan net_;
  std::map<std::string, Layer> layers_;
  std::shared_ptr<const LinearMap> head_;
};

}  // namespace

std::unique_ptr<TrainableNetwork> build_trainable_resnet(Device& device, const ResNetPlan& plan,
                                                         std::vector<ParameterSpec> specs,
                                                         const std::vector<ParameterValue>& values) {
  return std::make_unique<TrainableResNet>(device, plan, std::move(specs), values);
}

}  // namespace retrace
