#include "tools/train/state.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace retrace::tools {

namespace {

using weights::HostTensor;

std::vector<HostTensor> named_tensors(const TrainOptions& options,
                                      const std::vector<ParameterValue>& values) {
  std::vector<HostTensor> tensors;
  const auto specs = model_parameters(options.model, options.classes);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    tensors.push_back(HostTensor::from_f32(specs[i].name, values[i].shape, values[i].values));
  }
  return tensors;
}

}  // namespace

void save_state(const std::filesystem::path& path, const Trainer& trainer, const RunState& state,
                const TrainSettings& settings, const ModelNotes& notes) {
  const TrainOptions& options = trainer.options();
  std::vector<HostTensor> tensors = named_tensors(options, trainer.parameters());
  for (const auto& [name, values] : trainer.state()) {
    tensors.push_back(HostTensor::from_f32(training_prefix + name, {std::int64_t(values.size())}, values));
  }
  const Window& w = state.window;
  weights::SafetensorsOptions file;
  file.content_hash = true;
  file.metadata = model_metadata(options.model, options.classes, notes);
  file.metadata["training"] = nlohmann::ordered_json{
      {"step", state.step},
      {"samples", state.samples},
      {"validated", state.validated},
      {"accuracy", state.accuracy},
      {"best_accuracy", state.best_accuracy},
      {"best_step", state.best_step},
      {"seconds", state.seconds},
      {"window", {w.steps, w.samples, w.right, w.loss, w.norm}},
      {"settings",
       settings.deciding()}}.dump();
  weights::write_safetensors(path, tensors, file);
}

SavedRun load_state(const std::filesystem::path& path, const TrainSettings& settings,
                    const std::vector<std::string>& labels, std::size_t samples) {
  weights::Checkpoint checkpoint = weights::read_checkpoint(path);
  const auto at = checkpoint.metadata.find("training");
  const auto bad = [&](const std::string& what) -> Error {
    return Error(fmt::format("{}: {}: no state of a training run", path.string(), what));
  };
  if (at == checkpoint.metadata.end()) throw bad("its metadata has no 'training'");
  weights::check_content(checkpoint);
  SavedRun run;
  nlohmann::ordered_json was;
  try {
    const auto json = nlohmann::ordered_json::parse(at->second);
    run.state.step = json.at("step");
    run.state.samples = json.at("samples");
    run.state.validated = json.at("validated");
    run.state.accuracy = json.at("accuracy");
    run.state.best_accuracy = json.at("best_accuracy");
    run.state.best_step = json.at("best_step");
    run.state.seconds = json.at("seconds");
    const auto& window = json.at("window");
    run.state.window = {window.at(0), window.at(1), window.at(2), window.at(3), window.at(4)};
    was = json.at("settings");
  } catch (const nlohmann::json::exception&) {
    throw bad("its metadata 'training' is damaged");
  }
  if (run.state.step < 0) throw bad(fmt::format("step {}", run.state.step));
  const nlohmann::ordered_json wanted = settings.deciding();
  for (const auto& [option, now] : wanted.items()) {
    const auto before = was.find(option);
    // Through text, so that a float is what it was.
    if (before == was.end() || before->dump() != now.dump()) {
      throw UsageError(
          fmt::format("{} {}: the run in {} has {}; a run goes on with the settings it began with", option,
                      now.dump(), path.string(), before == was.end() ? "none" : before->dump()));
    }
  }
  if (run.state.samples != std::int64_t(samples)) {
    throw Error(fmt::format("{}: {} samples, but the run in {} began with {}", settings.data, samples,
                            path.string(), run.state.samples));
  }
  // Names of classes may change places with their number unchanged.
  if (const auto then = checkpoint.metadata.find("labels");
      then == checkpoint.metadata.end() || then->second != nlohmann::json(labels).dump()) {
    throw Error(fmt::format("{}: its classes are not those that the run in {} began with", settings.data,
                            path.string()));
  }
  std::erase_if(checkpoint.tensors, [&](const HostTensor& tensor) {
    if (!tensor.name.starts_with(training_prefix)) return false;
    run.arrays[tensor.name.substr(std::string_view(training_prefix).size())] = tensor.to_f32();
    return true;
  });
  run.values = take_parameters(checkpoint, {settings.model, int(labels.size()), false});
  return run;
}

void save_model(const std::filesystem::path& path, const Trainer& trainer, const TrainSettings& settings,
                const ModelNotes& notes, const std::map<std::string, std::string>& more) {
  weights::SafetensorsOptions file;
  file.content_hash = true;
  file.float_type = settings.dtype == "f16"    ? weights::DType::f16
                    : settings.dtype == "bf16" ? weights::DType::bf16
                                               : weights::DType::f32;
  file.metadata = model_metadata(settings.model, trainer.options().classes, notes);
  file.metadata.insert(more.begin(), more.end());
  weights::write_safetensors(path, named_tensors(trainer.options(), trainer.learnt()), file);
}

}  // namespace retrace::tools
