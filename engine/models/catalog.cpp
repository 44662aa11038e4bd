// Names, parameters and construction of every model.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <mutex>

#include "engine/models/resnet.h"
#include "weights/fold_batch_norm.h"

namespace retrace {

namespace {

// "resnet18_w16": resnet18 with 16 channels in its first stage instead of 64, and so on in proportion.
const ResNetPlan* narrowed(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, ResNetPlan> made;
  const std::size_t at = name.rfind("_w");
  if (at == std::string::npos) return nullptr;
  int width = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + at + 2, end, width);
  if (error != std::errc{} || stop != end || width < 1 || width > 1024 || name[at + 2] == '0') return nullptr;
  const std::lock_guard lock(mutex);
  if (const auto found = made.find(name); found != made.end()) return &found->second;
  for (const ResNetPlan& plan : resnet_catalog()) {
    if (plan.info.name != name.substr(0, at)) continue;
    if (width * plan.group_width % 64 != 0) return nullptr;  // groups of a fraction of a channel
    ResNetPlan narrow = plan;
    narrow.info.name = name;
    narrow.info.description += fmt::format(", {} channels in the first stage", width);
    narrow.width = width;
    return &(made[name] = narrow);
  }
  return nullptr;
}

// Null if there is none.
const ResNetPlan* find_plan(const std::string& name) {
  for (const ResNetPlan& plan : resnet_catalog()) {
    if (plan.info.name == name) return &plan;
  }
  return narrowed(name);
}

const ResNetPlan& plan_of(const std::string& name) {
  if (const ResNetPlan* const plan = find_plan(name)) return *plan;
  std::string known;
  for (const ResNetPlan& plan : resnet_catalog()) known += (known.empty() ? "" : ", ") + plan.info.name;
  throw UsageError(fmt::format(
      "model '{}': expected one of {}, or one of them with another width, as resnet18_w16", name, known));
}

constexpr std::size_t values_per_conv =
    5;  // weight, then batch norm's weight, bias, running mean and variance

}  // namespace

void Model::describe(std::vector<std::string> labels, const ModelInput& input) {
  if (!labels.empty() && int(labels.size()) != info_.classes) {
    throw Error(fmt::format("{} labels for a model of {} classes", labels.size(), info_.classes));
  }
  info_.labels = std::move(labels);
  info_.input = input;
}

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

bool is_model(const std::string& name) {
  return find_plan(name) != nullptr;
}

std::vector<ParameterSpec> model_parameters(const std::string& name, int classes, bool folded) {
  const ResNetPlan& plan = plan_of(name);
  const NetPlan net = expand(plan);
  std::vector<ParameterSpec> specs;
  for (const ConvPlan& c : convolutions(net)) {
    specs.push_back({c.name + ".weight", {c.out, c.in / c.groups, c.kernel, c.kernel}});
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

std::vector<std::string> residual_scales(const std::string& name) {
  std::vector<std::string> names;
  for (const BlockPlan& block : expand(plan_of(name)).blocks)
    names.push_back(block.convs.back().norm + ".weight");
  return names;
}

std::unique_ptr<TrainableNetwork> build_trainable(Device& device, const std::string& name, int classes,
                                                  const std::vector<ParameterValue>& values) {
  return build_trainable_resnet(device, plan_of(name), model_parameters(name, classes), values);
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

namespace {

std::unique_ptr<Model> build(Device& device, const std::string& name, int classes, bool folded,
                             const std::vector<ParameterValue>& values) {
  const auto specs = model_parameters(name, classes, folded);
  if (values.size() != specs.size()) {
    throw Error(fmt::format("model {}: {} {}parameters given, {} expected", name, values.size(),
                            folded ? "folded " : "", specs.size()));
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (values[i].shape != specs[i].shape) {
      throw Error(fmt::format("model {}: {} has shape {}, expected {}", name, specs[i].name,
                              to_string(values[i].shape), to_string(specs[i].shape)));
    }
  }
  return build_resnet(device, plan_of(name), classes ? classes : plan_of(name).info.classes, folded, values);
}

}  // namespace

std::unique_ptr<Model> build_model(Device& device, const std::string& name, int classes,
                                   const std::vector<ParameterValue>& folded_values) {
  return build(device, name, classes, true, folded_values);
}

std::unique_ptr<Model> build_unfolded_model(Device& device, const std::string& name, int classes,
                                            const std::vector<ParameterValue>& values) {
  return build(device, name, classes, false, values);
}

}  // namespace retrace
