// Names, parameters and construction of every model.
#include <fmt/format.h>

#include "engine/models/resnet.h"
#include "weights/fold_batch_norm.h"

namespace retrace {

namespace {

const ResNetPlan& plan_of(const std::string& name) {
  std::string known;
  for (const ResNetPlan& plan : resnet_catalog()) {
    if (plan.info.name == name) return plan;
    known += (known.empty() ? "" : ", ") + plan.info.name;
  }
  throw UsageError(fmt::format("model '{}': expected one of {}", name, known));
}

// Every convolution in the order its parameters are listed.
std::vector<ConvPlan> convolutions(const NetPlan& net) {
  std::vector<ConvPlan> convs{net.stem};
  for (const BlockPlan& block : net.blocks) {
    convs.insert(convs.end(), block.convs.begin(), block.convs.end());
    convs.insert(convs.end(), block.downsample.begin(), block.downsample.end());
  }
  return convs;
}

constexpr std::size_t values_per_conv =
    5;  // weight, then batch norm's weight, bias, running mean and variance

}  // namespace

const std::vector<ModelInfo>& model_catalog() {
  static const std::vector<ModelInfo> models = [] {
    std::vector<ModelInfo> list;
    for (const ResNetPlan& plan : resnet_catalog()) list.push_back(plan.info);
    return list;
  }();
  return models;
}

const ModelInfo& model_info(const std::string& name) {
  return plan_of(name).info;
}

std::vector<ParameterSpec> model_parameters(const std::string& name, int classes, bool folded) {
  const ResNetPlan& plan = plan_of(name);
  const NetPlan net = expand(plan);
  std::vector<ParameterSpec> specs;
  for (const ConvPlan& c : convolutions(net)) {
    specs.push_back({c.name + ".weight", {c.out, c.in, c.kernel, c.kernel}});
    if (folded) {
      specs.push_back({c.name + ".bias", {c.out}});
    } else {
      for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
        specs.push_back({fmt::format("{}.{}", c.norm, part), {c.out}});
      }
    }
  }
  const int heads = classes ? classes : plan.info.classes;
  specs.push_back({net.head + ".weight", {heads, net.features}});
  specs.push_back({net.head + ".bias", {heads}});
  return specs;
}

std::vector<ParameterValue> fold_model(const std::string& name, int classes,
                                       const std::vector<ParameterValue>& values) {
  const auto specs = model_parameters(name, classes);
  if (values.size() != specs.size()) {
    throw Error(fmt::format("model {}: {} parameters given, {} expected", name, values.size(), specs.size()));
  }
  constexpr double batch_norm_epsilon = 1e-5;  // torch.nn.BatchNorm2d's
  std::vector<ParameterValue> folded;
  std::size_t i = 0;
  for (; i + values_per_conv <= values.size() - 2; i += values_per_conv) {
    auto [weight, bias] =
        weights::fold_batch_norm(specs[i].name, values[i].values, {},
                                 {values[i + 1].values, values[i + 2].values, values[i + 3].values,
                                  values[i + 4].values, batch_norm_epsilon});
    const std::int64_t channels = values[i].shape[0];
    folded.push_back({values[i].shape, std::move(weight)});
    folded.push_back({{channels}, std::move(bias)});
  }
  folded.push_back(values[i]);
  folded.push_back(values[i + 1]);
  return folded;
}

std::unique_ptr<Model> build_model(Device& device, const std::string& name, int classes,
                                   const std::vector<ParameterValue>& folded_values) {
  const auto specs = model_parameters(name, classes, true);
  if (folded_values.size() != specs.size()) {
    throw Error(fmt::format("model {}: {} folded parameters given, {} expected", name, folded_values.size(),
                            specs.size()));
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (folded_values[i].shape != specs[i].shape) {
      throw Error(fmt::format("model {}: {} has shape {}, expected {}", name, specs[i].name,
                              to_string(folded_values[i].shape), to_string(specs[i].shape)));
    }
  }
  return build_resnet(device, plan_of(name), classes ? classes : plan_of(name).info.classes, folded_values);
}

}  // namespace retrace
