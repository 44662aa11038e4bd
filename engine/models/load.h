// From a weight file to a model on a device.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/models/model.h"
#include "weights/checkpoint.h"
#include "weights/match.h"
#include "weights/names.h"

namespace retrace {

// What a checkpoint is taken for.
struct CheckpointFit {
  std::string model;
  int classes = 0;
  bool folded = false;          // convolutions carry biases, batch norm is gone
  weights::Naming naming = {};  // how its names are read
  std::size_t taken = 0;        // its tensors that have the name and the shape of one of the model's
  std::size_t ignored = 0;      // batch norm's counters
  std::size_t differing = 0;    // missing, unexpected or of another shape
  // Of a checkpoint with a graph (ONNX): its parameters are found by their places there, whatever their names. Where the
  // graph is not the model's, the first difference; `taken` and `differing` then only tell how far the two are alike.
  std::string graph_error = {};
  std::vector<std::string> graph_notes = {};
};

// Every architecture, with the width of the checkpoint's stem and the way of reading its names that fits best; the one
// that differs least first.
std::vector<CheckpointFit> rank_models(const weights::Checkpoint& checkpoint);

// The architectures whose tensors a checkpoint holds, all of them and none other.
std::vector<CheckpointFit> fitting_models(const weights::Checkpoint& checkpoint);

// How `checkpoint` is to be read as `model`: its names, its head's size and whether it is folded, told by its tensors.
// A checkpoint that does not fit still gets an answer; loading then says what is wrong with it.
CheckpointFit fit_for(const weights::Checkpoint& checkpoint, const std::string& model);

// The parameters of a checkpoint with a graph under the names of `model`, and without the graph: how an ONNX file is read
// as that model. `names`: what each was called in the file. Error naming the node that is another than the model's.
weights::Checkpoint named_by_graph(const weights::Checkpoint& checkpoint, const std::string& model,
                                   std::vector<std::string>& names);

// Tensor by tensor, under the names of fit.naming or by the graph.
std::vector<weights::MatchRow> compare(const weights::Checkpoint& checkpoint, const CheckpointFit& fit);

// One line each about how the checkpoint is read: its names, its head where it is not the usual one.
std::vector<std::string> fit_notes(const CheckpointFit& fit);

// Leaves out the arrays of a training run of ours, and says so in a note.
void drop_training_state(weights::Checkpoint& checkpoint);

// The model's parameters out of a checkpoint, strictly: Error listing what is missing, unexpected and mis-shaped, or
// naming the architecture where it is a known one that is not offered; Error naming a tensor that is not of a floating
// type or holds NaN or infinity. In the order of model_parameters(fit.model, fit.classes, fit.folded), whose names they
// bear. The tensors share the checkpoint's bytes, the values are copies.
std::vector<weights::HostTensor> take_tensors(const weights::Checkpoint& checkpoint,
                                              const CheckpointFit& fit);
std::vector<ParameterValue> take_parameters(const weights::Checkpoint& checkpoint, const CheckpointFit& fit);

// What a checkpoint of ours says beside its tensors.
struct ModelNotes {
  std::vector<std::string> labels;  // empty: not said
  ModelInput input;
};
// As safetensors metadata ("model", "classes", "labels", "resize", "crop", "mean", "std"), and back: what the metadata does not
// say comes from `usual`, and all where the file is no safetensors or names another model. Error naming the file, the key and
// the value that makes no sense.
std::map<std::string, std::string> model_metadata(const std::string& model, int classes,
                                                  const ModelNotes& notes);
ModelNotes read_model_notes(const weights::Checkpoint& checkpoint, const std::string& model, int classes,
                            const ModelNotes& usual);

// Arrays of a training run beside the parameters bear this in front of their names; loading a model leaves them out.
inline constexpr const char* training_prefix = "training.";

struct LoadedModel {
  std::unique_ptr<Model> model;
  std::vector<std::string> notes;               // one line each: what a user should know
  std::map<std::string, std::string> metadata;  // the checkpoint's
};

// model: a name, or empty to tell it from the file (its metadata, else its tensors). weights: a file, or empty for
// seeded, untrained weights; without a name either, the trained demo network.
LoadedModel load_model(Device& device, const std::string& model, const std::filesystem::path& weights,
                       std::uint64_t seed);

// The same from a checkpoint in memory; one that is moved here is given up before the device needs its share.
LoadedModel load_model(Device& device, const std::string& model, weights::Checkpoint checkpoint);

// Seeded values for every parameter (see weights/seeded.h), the same everywhere.
std::vector<ParameterValue> seeded_parameters(const std::string& model, int classes, std::uint64_t seed);

}  // namespace retrace
