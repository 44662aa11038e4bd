// Names, parameters and construction of every model.
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <mutex>

#include "engine/models/graph.h"

namespace retrace {

namespace {

// A model of the catalog, or one of them in another width.
struct Entry {
  ModelInfo info;
  const Architecture* architecture = nullptr;
  int width = 0;
};

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> all = [] {
    std::vector<Architecture> list;
    for (auto* const family :
         {resnet_family, vgg_family, squeezenet_family, mobilenet_family, densenet_family}) {
      for (Architecture& one : family()) list.push_back(std::move(one));
    }
    return list;
  }();
  return all;
}

// "resnet18_w16": resnet18 with 16 channels in its first stage instead of 64, and so on in proportion.
const Entry* narrowed(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, Entry> made;
  const std::size_t at = name.rfind("_w");
  if (at == std::string::npos) return nullptr;
  int width = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + at + 2, end, width);
  if (error != std::errc{} || stop != end || width < 1 || width > 1024 || name[at + 2] == '0') return nullptr;
  const std::lock_guard lock(mutex);
  if (const auto found = made.find(name); found != made.end()) return &found->second;
  for (const Architecture& a : architectures()) {
    if (a.info.name != name.substr(0, at)) continue;
    if (!a.graph(width, 1)) return nullptr;
    Entry narrow{a.info, &a, width};
    narrow.info.name = name;
    narrow.info.description += fmt::format(", {} channels in the first stage", width);
    return &(made[name] = std::move(narrow));
  }
  return nullptr;
}

// Null if there is none.
const Entry* find_entry(const std::string& name) {
  static const std::map<std::string, Entry> usual = [] {
    std::map<std::string, Entry> entries;
    for (const Architecture& a : architectures()) entries[a.info.name] = {a.info, &a, a.width};
    return entries;
  }();
  if (const auto at = usual.find(name); at != usual.end()) return &at->second;
  return narrowed(name);
}

const Entry& entry_of(const std::string& name) {
  if (const Entry* const entry = find_entry(name)) return *entry;
  std::string known;
  for (const Architecture& a : architectures()) known += (known.empty() ? "" : ", ") + a.info.name;
  throw UsageError(fmt::format(
      "model '{}': expected one of {}, or one of them with another width, as resnet18_w16", name, known));
}

// Whether the values are the model's parameters; Error that says what is not.
void check_values(const std::string& name, int classes, bool folded,
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
}

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
    for (const Architecture& a : architectures()) list.push_back(a.info);
    return list;
  }();
  return models;
}

const ModelInfo& model_info(const std::string& name) {
  return entry_of(name).info;
}

bool is_model(const std::string& name) {
  return find_entry(name) != nullptr;
}

NetGraph model_graph(const std::string& name, int classes) {
  const Entry& entry = entry_of(name);
  return *entry.architecture->graph(entry.width, classes ? classes : entry.info.classes);
}

std::vector<ParameterSpec> model_parameters(const std::string& name, int classes, bool folded) {
  return graph_parameters(model_graph(name, classes), folded);
}

std::vector<std::string> residual_scales(const std::string& name) {
  return model_graph(name).residual_scales;
}

std::vector<ParameterValue> fold_model(const std::string& name, int classes,
                                       const std::vector<ParameterValue>& values) {
  check_values(name, classes, false, values);
  return fold_graph(model_graph(name, classes), values);
}

std::unique_ptr<Model> build_model(Device& device, const std::string& name, int classes,
                                   const std::vector<ParameterValue>& folded_values) {
  check_values(name, classes, true, folded_values);
  return build_graph_model(device, model_info(name), model_graph(name, classes), true, folded_values);
}

std::unique_ptr<Model> build_unfolded_model(Device& device, const std::string& name, int classes,
                                            const std::vector<ParameterValue>& values) {
  check_values(name, classes, false, values);
  return build_graph_model(device, model_info(name), model_graph(name, classes), false, values);
}

std::unique_ptr<TrainableNetwork> build_trainable(Device& device, const std::string& name, int classes,
                                                  const std::vector<ParameterValue>& values) {
  return build_trainable_graph(device, model_graph(name, classes), values);
}

}  // namespace retrace
