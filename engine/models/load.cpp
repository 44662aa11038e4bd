#include "engine/models/load.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "engine/models/graph.h"
#include "engine/models/onnx_match.h"
#include "engine/models/onnx_values.h"
#include "weights/match.h"
#include "weights/seeded.h"
#include "weights/sha256.h"
#include "weights/strict_json.h"

namespace retrace {

namespace {

std::vector<weights::TensorSpec> specs_of(const CheckpointFit& fit) {
  std::vector<weights::TensorSpec> specs;
  for (const ParameterSpec& spec : model_parameters(fit.model, fit.classes, fit.folded))
    specs.push_back({spec.name, spec.shape});
  return specs;
}

// Whether the batch norms behind convolutions are gone from a checkpoint whose names are the model's own; the first one tells.
// A model without any is the same either way.
bool is_folded(const weights::Checkpoint& named, const NetGraph& graph) {
  for (const int index : graph.listed) {
    const LayerPlan& layer = graph.layers[std::size_t(index)];
    if (layer.norm.empty()) continue;
    return !named.find(layer.norm + ".weight") && (layer.bias || named.find(layer.module + ".bias"));
  }
  return false;
}

// Head and folding of a checkpoint whose names are the model's own.
CheckpointFit read_as(const weights::Checkpoint& named, const std::string& model,
                      const weights::Naming& naming) {
  CheckpointFit fit{model, model_info(model).classes, false, naming};
  const NetGraph graph = model_graph(model);
  if (const auto* bias = named.find(graph.head().module + ".bias");
      bias && bias->shape.size() == 1 && bias->shape[0] >= 1 && bias->shape[0] <= 1'000'000) {
    fit.classes = int(bias->shape[0]);
  }
  fit.folded = is_folded(named, graph);
  for (const weights::MatchRow& row : weights::compare(named, specs_of(fit))) {
    fit.taken += row.kind == weights::MatchKind::taken;
    fit.ignored += row.kind == weights::MatchKind::ignored;
    fit.differing += row.differs();
  }
  return fit;
}

constexpr const char* by_graph = "parameters found by their places in the graph";

int classes_of(const weights::OnnxGraph& graph, const std::string& model) {
  const int classes = onnx_classes(graph);
  return classes ? classes : model_info(model).classes;
}

// The checkpoint under the model's names: by its graph where it has one, else as its names are read.
weights::Checkpoint under_model_names(const weights::Checkpoint& checkpoint, const CheckpointFit& fit) {
  if (!checkpoint.graph) return weights::renamed(checkpoint, fit.naming);
  std::vector<std::string> ignored;
  return named_by_graph(checkpoint, fit.model, ignored);
}

CheckpointFit fit_graph(const weights::Checkpoint& checkpoint, const std::string& model) {
  CheckpointFit fit{model, classes_of(*checkpoint.graph, model)};
  fit.naming.convention = by_graph;
  OnnxMatch match = match_onnx(*checkpoint.graph, model_graph(model, fit.classes));
  fit.folded = match.folded;
  fit.graph_notes = std::move(match.notes);
  fit.graph_error = std::move(match.error);
  fit.taken = match.tensors.size();
  if (!match.fits) {
    const std::size_t all = specs_of(fit).size();
    fit.taken = std::min(match.reached, all - 1);
    fit.differing = all - fit.taken;
  }
  return fit;
}

// The model in the width that the first convolution's output channels tell, if it comes in that; not every model comes in
// every width.
std::string in_width(const std::string& model, std::int64_t width, int usual) {
  if (width < 1 || width > 1024 || width == usual) return model;
  const std::string narrow = fmt::format("{}_w{}", model, width);
  return is_model(narrow) ? narrow : model;
}

const LayerPlan& stem_of(const NetGraph& graph) {
  return graph.layers[std::size_t(graph.listed.front())];
}

bool better(const CheckpointFit& a, const CheckpointFit& b) {
  return a.differing < b.differing;
}

// How a file that fits nothing differs from what it is most like.
std::string nearest_text(const weights::Checkpoint& checkpoint) {
  const CheckpointFit nearest = rank_models(checkpoint).front();
  if (checkpoint.graph) return fmt::format("; nearest is {}: {}", nearest.model, nearest.graph_error);
  if (const auto misfit = weights::known_misfit(weights::renamed(checkpoint, nearest.naming));
      !misfit.empty()) {
    return fmt::format("; it is {}", misfit);
  }
  if (nearest.taken == 0) return "";
  return fmt::format("; nearest is {}, from which {} tensors differ", nearest.model, nearest.differing);
}

}  // namespace

weights::Checkpoint named_by_graph(const weights::Checkpoint& checkpoint, const std::string& model,
                                   std::vector<std::string>& names) {
  const NetGraph net = model_graph(model, classes_of(*checkpoint.graph, model));
  OnnxMatch match = match_onnx(*checkpoint.graph, net);
  if (!match.fits) {
    throw Error(fmt::format("{}: its graph does not fit {}: {}", checkpoint.path, model, match.error));
  }
  weights::Checkpoint named = checkpoint;
  named.tensors = std::move(match.tensors);
  named.graph = nullptr;
  named.notes.push_back(by_graph);
  named.notes.insert(named.notes.end(), match.notes.begin(), match.notes.end());
  names = std::move(match.sources);
  return named;
}

CheckpointFit fit_for(const weights::Checkpoint& checkpoint, const std::string& model) {
  if (checkpoint.graph) return fit_graph(checkpoint, model);
  std::vector<CheckpointFit> fits;
  for (const weights::Naming& naming : weights::namings(checkpoint.tensors)) {
    fits.push_back(read_as(weights::renamed(checkpoint, naming), model, naming));
  }
  return *std::min_element(fits.begin(), fits.end(), better);
}

std::vector<CheckpointFit> rank_models(const weights::Checkpoint& checkpoint) {
  std::vector<CheckpointFit> ranked(model_catalog().size());
  if (checkpoint.graph) {
    const int width = onnx_stem_width(*checkpoint.graph);
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      const std::string& usual = model_catalog()[i].name;
      ranked[i] = fit_graph(checkpoint, in_width(usual, width, stem_of(model_graph(usual)).out));
    }
    // How far a graph goes along with a network says more than how many tensors the network has.
    std::stable_sort(ranked.begin(), ranked.end(), [](const CheckpointFit& a, const CheckpointFit& b) {
      return std::pair(a.differing == 0, a.taken) > std::pair(b.differing == 0, b.taken);
    });
    return ranked;
  }
  bool first = true;
  for (const weights::Naming& naming : weights::namings(checkpoint.tensors)) {
    const weights::Checkpoint named = weights::renamed(checkpoint, naming);
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      const std::string& usual = model_catalog()[i].name;
      const NetGraph graph = model_graph(usual);
      const weights::HostTensor* const stem = named.find(stem_of(graph).module + ".weight");
      const std::string name =
          in_width(usual, stem && stem->shape.size() == 4 ? stem->shape[0] : 0, stem_of(graph).out);
      CheckpointFit fit = read_as(named, name, naming);
      if (first || better(fit, ranked[i])) ranked[i] = std::move(fit);
    }
    first = false;
  }
  std::stable_sort(ranked.begin(), ranked.end(), better);
  return ranked;
}

std::vector<CheckpointFit> fitting_models(const weights::Checkpoint& checkpoint) {
  std::vector<CheckpointFit> fitting = rank_models(checkpoint);
  std::erase_if(fitting, [](const CheckpointFit& fit) { return fit.differing > 0; });
  // A graph whose batch norms were folded away may be a network that never had any: VGG. Then it is that.
  const bool plain = checkpoint.graph &&
                     std::any_of(fitting.begin(), fitting.end(), [](const auto& fit) { return !fit.folded; });
  if (plain) std::erase_if(fitting, [](const CheckpointFit& fit) { return fit.folded; });
  return fitting;
}

std::vector<weights::MatchRow> compare(const weights::Checkpoint& checkpoint, const CheckpointFit& fit) {
  return weights::compare(under_model_names(checkpoint, fit), specs_of(fit));
}

std::vector<std::string> fit_notes(const CheckpointFit& fit) {
  std::vector<std::string> notes = fit.naming.notes();
  notes.insert(notes.end(), fit.graph_notes.begin(), fit.graph_notes.end());
  if (const int usual = model_info(fit.model).classes; fit.classes != usual) {
    notes.push_back(
        fmt::format("the classifier has {} classes (usual for {}: {})", fit.classes, fit.model, usual));
  }
  return notes;
}

void drop_training_state(weights::Checkpoint& checkpoint) {
  if (std::erase_if(checkpoint.tensors, [](const auto& t) { return t.name.starts_with(training_prefix); })) {
    checkpoint.notes.push_back("the optimizer's state was left out");
  }
}

namespace {

std::array<float, 3> three_numbers(const std::string& key, const std::string& text) {
  std::istringstream in(text);
  std::array<float, 3> values{};
  std::string rest;
  in >> values[0] >> values[1] >> values[2];
  if (!in || (in >> rest)) throw Error(fmt::format("metadata {}: '{}', expected three numbers", key, text));
  return values;
}

int side(const std::string& key, const std::string& text, int least) {
  std::istringstream in(text);
  long long value = -1;
  std::string rest;
  in >> value;
  constexpr long long most = 16384;  // as --resize and --crop
  if (!in || (in >> rest) || value < least || value > most) {
    throw Error(fmt::format("metadata {}: '{}', expected a number from {} to {}", key, text, least, most));
  }
  return int(value);
}

}  // namespace

std::map<std::string, std::string> model_metadata(const std::string& model, int classes,
                                                  const ModelNotes& notes) {
  const ModelInput& input = notes.input;
  std::map<std::string, std::string> metadata{
      {"model", model},
      {"classes", std::to_string(classes)},
      {"resize", std::to_string(input.resize)},
      {"crop", std::to_string(input.crop)},
      {"mean", fmt::format("{} {} {}", input.mean[0], input.mean[1], input.mean[2])},
      {"std", fmt::format("{} {} {}", input.std[0], input.std[1], input.std[2])}};
  if (!notes.labels.empty()) metadata["labels"] = weights::json_list(notes.labels);
  return metadata;
}

namespace {

ModelNotes read_notes(const std::map<std::string, std::string>& metadata, const ModelNotes& usual) {
  ModelNotes notes = usual;
  const auto value = [&](const char* key) {
    const auto at = metadata.find(key);
    return at == metadata.end() ? nullptr : &at->second;
  };
  if (const auto* text = value("resize")) notes.input.resize = side("resize", *text, 0);
  if (const auto* text = value("crop")) notes.input.crop = side("crop", *text, 1);
  if (const auto* text = value("mean")) notes.input.mean = three_numbers("mean", *text);
  if (const auto* text = value("std")) {
    notes.input.std = three_numbers("std", *text);
    for (const float s : notes.input.std) {
      if (!(s > 0)) throw Error(fmt::format("metadata std: '{}', expected numbers above 0", *text));
    }
  }
  if (const auto* text = value("labels")) {
    auto labels = weights::read_json_list(*text);
    if (!labels) throw Error("metadata labels: expected a JSON list of strings");
    notes.labels = std::move(*labels);
  }
  return notes;
}

}  // namespace

ModelNotes read_model_notes(const weights::Checkpoint& checkpoint, const std::string& model, int classes,
                            const ModelNotes& usual) {
  // PyTorch's files hold whatever their writer put beside the weights, by any names.
  const auto said = checkpoint.metadata.find("model");
  if (checkpoint.format != "safetensors" || said == checkpoint.metadata.end() || said->second != model)
    return usual;
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("{}: {}", checkpoint.path, what));
  };
  ModelNotes notes;
  try {
    notes = read_notes(checkpoint.metadata, usual);
  } catch (const Error& error) {
    fail(error.what());
  }
  if (!notes.labels.empty() && notes.labels.size() != std::size_t(classes)) {
    fail(fmt::format("metadata labels: {} of them, expected {}, one for each class", notes.labels.size(),
                     classes));
  }
  return notes;
}

std::vector<weights::HostTensor> take_tensors(const weights::Checkpoint& checkpoint,
                                              const CheckpointFit& fit) {
  weights::Checkpoint named = under_model_names(checkpoint, fit);
  // The names in messages are the new ones.
  if (!fit.naming.plain()) named.path += fmt::format(" ({})", fmt::join(fit.naming.notes(), ", "));
  const auto specs = specs_of(fit);
  const auto rows = weights::compare(named, specs);
  if (std::any_of(rows.begin(), rows.end(), [](const weights::MatchRow& row) { return row.differs(); })) {
    if (const std::string misfit = weights::known_misfit(named); !misfit.empty()) {
      throw Error(fmt::format("{}: is {}; expected {}", checkpoint.path, misfit, fit.model));
    }
  }
  std::vector<weights::HostTensor> tensors = weights::match_tensors(named, specs);
  for (const weights::HostTensor& tensor : tensors) {
    if (!weights::is_floating(tensor.dtype)) {
      throw Error(fmt::format("{}: {} holds {}, expected a floating type", checkpoint.path, tensor.name,
                              weights::dtype_name(tensor.dtype)));
    }
    if (const auto v = tensor.first_not_finite()) {
      throw Error(fmt::format("{}: {} holds {}, expected finite numbers of 32 bits", checkpoint.path,
                              tensor.name, *v));
    }
  }
  return tensors;
}

std::vector<ParameterValue> take_parameters(const weights::Checkpoint& checkpoint, const CheckpointFit& fit) {
  std::vector<ParameterValue> values;
  for (const weights::HostTensor& tensor : take_tensors(checkpoint, fit)) {
    values.push_back({tensor.shape, tensor.to_f32()});
  }
  return values;
}

LoadedModel load_model(Device& device, const std::string& name, weights::Checkpoint checkpoint) {
  weights::check_content(checkpoint);
  LoadedModel loaded;
  drop_training_state(checkpoint);
  loaded.metadata = checkpoint.metadata;
  loaded.notes = checkpoint.notes;
  std::string model = name;
  if (model.empty()) {
    if (const auto at = checkpoint.metadata.find("model"); at != checkpoint.metadata.end()) {
      if (is_model(at->second)) model = at->second;
    }
  }
  if (model.empty()) {
    const auto fitting = fitting_models(checkpoint);
    if (fitting.size() != 1) {
      std::vector<std::string> names;
      for (const CheckpointFit& fit : fitting) names.push_back(fit.model);
      throw Error(
          fitting.empty()
              ? fmt::format("{}: its {} tensors fit no model{}; name one with --model to see what differs",
                            checkpoint.path, checkpoint.tensors.size(), nearest_text(checkpoint))
              : fmt::format("{}: it fits several models; choose one with --model: {}", checkpoint.path,
                            fmt::join(names, ", ")));
    }
    model = fitting.front().model;
  }
  const CheckpointFit fit = fit_for(checkpoint, model);
  std::vector<ParameterValue> values = take_parameters(checkpoint, fit);
  checkpoint.tensors.clear();  // nobody else may need the file's memory
  checkpoint.averaged.clear();
  if (!fit.folded) values = fold_model(model, fit.classes, values);
  loaded.model = build_model(device, model, fit.classes, values);
  const ModelInfo& info = loaded.model->info();
  const ModelNotes said_of_it = read_model_notes(checkpoint, model, fit.classes, {info.labels, info.input});
  loaded.model->describe(said_of_it.labels, said_of_it.input);
  // A head whose classes the file names needs no explanation.
  CheckpointFit said = fit;
  if (!loaded.model->info().labels.empty()) said.classes = model_info(model).classes;
  for (std::string& note : fit_notes(said)) loaded.notes.push_back(std::move(note));
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
  if (name.empty()) return load_model(device, name, weights::demo_checkpoint());
  LoadedModel loaded;
  loaded.model = build_model(device, name, 0, fold_model(name, 0, seeded_parameters(name, 0, seed)));
  loaded.notes.push_back(fmt::format(
      "no --weights given: {} runs with seeded, untrained weights; its classes and maps mean nothing", name));
  return loaded;
}

}  // namespace retrace
