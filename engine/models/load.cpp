#include "engine/models/load.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "weights/match.h"
#include "weights/seeded.h"

namespace retrace {

namespace {

std::vector<weights::TensorSpec> specs_of(const CheckpointFit& fit) {
  std::vector<weights::TensorSpec> specs;
  for (auto& [name, shape] : model_parameters(fit.model, fit.classes, fit.folded))
    specs.push_back({name, shape});
  return specs;
}

// Cheaper than reading: do names and shapes agree?
bool fits(const weights::Checkpoint& checkpoint, const CheckpointFit& fit) {
  try {
    weights::match_tensors(checkpoint, specs_of(fit));
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

CheckpointFit fit_for(const weights::Checkpoint& checkpoint, const std::string& model) {
  CheckpointFit fit{model, model_info(model).classes, false};
  const std::string head = model_parameters(model).back().name;  // "fc.bias"
  if (const auto* bias = checkpoint.find(head);
      bias && bias->shape.size() == 1 && bias->shape[0] >= 1 && bias->shape[0] <= 1'000'000) {
    fit.classes = int(bias->shape[0]);
  }
  fit.folded = checkpoint.find("conv1.bias") && !checkpoint.find("bn1.weight");
  return fit;
}

std::vector<CheckpointFit> fitting_models(const weights::Checkpoint& checkpoint) {
  std::vector<CheckpointFit> fitting;
  for (const ModelInfo& info : model_catalog()) {
    const CheckpointFit fit = fit_for(checkpoint, info.name);
    if (fits(checkpoint, fit)) fitting.push_back(fit);
  }
  return fitting;
}

std::vector<ParameterValue> take_parameters(const weights::Checkpoint& checkpoint, const CheckpointFit& fit) {
  std::vector<ParameterValue> values;
  for (const weights::HostTensor& tensor : weights::match_tensors(checkpoint, specs_of(fit))) {
    if (!weights::is_floating(tensor.dtype)) {
      throw Error(fmt::format("{}: {} holds {}, expected a floating type", checkpoint.path, tensor.name,
                              weights::dtype_name(tensor.dtype)));
    }
    values.push_back({tensor.shape, tensor.to_f32()});
    for (const float v : values.back().values) {
      if (!std::isfinite(v)) throw Error(fmt::format("{}: {} holds {}", checkpoint.path, tensor.name, v));
    }
  }
  return values;
}

LoadedModel load_model(Device& device, const std::string& name, const weights::Checkpoint& checkpoint) {
  LoadedModel loaded;
  loaded.metadata = checkpoint.metadata;
  loaded.notes = checkpoint.notes;
  std::string model = name;
  if (model.empty()) {
    if (const auto at = checkpoint.metadata.find("model"); at != checkpoint.metadata.end()) {
      const auto& known = model_catalog();
      if (std::any_of(known.begin(), known.end(), [&](const ModelInfo& m) { return m.name == at->second; })) {
        model = at->second;
      }
    }
  }
  if (model.empty()) {
    const auto fitting = fitting_models(checkpoint);
    if (fitting.size() != 1) {
      std::vector<std::string> names;
      for (const CheckpointFit& fit : fitting) names.push_back(fit.model);
      throw Error(
          fitting.empty()
              ? fmt::format("{}: its {} tensors fit no model; name one with --model to see what differs",
                            checkpoint.path, checkpoint.tensors.size())
              : fmt::format("{}: it fits several models; choose one with --model: {}", checkpoint.path,
                            fmt::join(names, ", ")));
    }
    model = fitting.front().model;
  }
  const CheckpointFit fit = fit_for(checkpoint, model);
  std::vector<ParameterValue> values = take_parameters(checkpoint, fit);
  if (!fit.folded) values = fold_model(model, fit.classes, values);
  loaded.model = build_model(device, model, fit.classes, values);
  if (fit.classes != model_info(model).classes) {
    loaded.notes.push_back(fmt::format("the classifier has {} classes (usual for {}: {})", fit.classes, model,
                                       model_info(model).classes));
  }
  return loaded;
}

std::vector<ParameterValue> seeded_parameters(const std::string& model, int classes, std::uint64_t seed) {
  std::vector<ParameterValue> values;
  for (const ParameterSpec& spec : model_parameters(model, classes)) {
    values.push_back({spec.shape, seeded_tensor(spec.name, spec.shape, seed)});
  }
  return values;
}

LoadedModel load_model(Device& device, const std::string& name, const std::filesystem::path& path,
                       std::uint64_t seed) {
  if (!path.empty()) return load_model(device, name, weights::read_checkpoint(path));
  const std::string model = name.empty() ? demo_model : name;
  LoadedModel loaded;
  loaded.model = build_model(device, model, 0, fold_model(model, 0, seeded_parameters(model, 0, seed)));
  loaded.notes.push_back(fmt::format(
      "no --weights given: {} runs with seeded, untrained weights; its classes and maps mean nothing",
      model));
  return loaded;
}

}  // namespace retrace
