#include <fmt/format.h>

#include <memory>

#include "engine/models/load.h"
#include "tools/commands/commands.h"
#include "tools/console.h"
#include "weights/npz_writer.h"
#include "weights/safetensors.h"

namespace retrace::tools {

namespace {

struct Options {
  std::filesystem::path file, out;
  std::string model, dtype = "f32";
  bool fold = false, quiet = false;
};

weights::DType type_of(const std::string& name) {
  return name == "f16" ? weights::DType::f16 : name == "bf16" ? weights::DType::bf16 : weights::DType::f32;
}

// Whether --out names an .npz archive. UsageError for what is neither that nor safetensors, and for bf16 in it.
bool wants_npz(const Options& o) {
  const std::string extension = o.out.extension().string();
  if (extension == ".safetensors") return false;
  if (extension != ".npz") {
    throw UsageError(fmt::format(
        "--out {}: the format is told by the name, expected FILE.safetensors or FILE.npz", o.out.string()));
  }
  if (o.dtype == "bf16")
    throw UsageError("--dtype bf16: NumPy has no such type, expected f32 or f16 for .npz");
  return true;
}

int run(const Options& o) {
  (void)model_info(o.model);  // an unknown name is wrong usage, whatever the file
  const bool npz = wants_npz(o);
  const weights::Checkpoint checkpoint = weights::read_checkpoint(o.file);
  CheckpointFit fit = fit_for(checkpoint, o.model);
  std::vector<ParameterValue> values = take_parameters(checkpoint, fit);
  if (o.fold && !fit.folded) {
    values = fold_model(fit.model, fit.classes, values);
    fit.folded = true;
  }
  const auto specs = model_parameters(fit.model, fit.classes, fit.folded);
  std::vector<weights::HostTensor> tensors;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    tensors.push_back(weights::HostTensor::from_f32(specs[i].name, values[i].shape, values[i].values));
  }
  const ModelInfo& info = model_info(o.model);
  // What an own file says of itself stays with it.
  ModelNotes notes{fit.classes == info.classes ? info.labels : std::vector<std::string>{}, info.input};
  if (const auto at = checkpoint.metadata.find("model");
      at != checkpoint.metadata.end() && at->second == o.model) {
    notes = read_model_notes(checkpoint.metadata, notes);
  }
  weights::SafetensorsOptions options;
  options.float_type = type_of(o.dtype);
  options.metadata = model_metadata(o.model, fit.classes, notes);
  options.metadata["batch_norm"] = fit.folded ? "folded" : "separate";
  if (npz) {
    weights::write_npz(o.out, tensors, options.float_type);  // has no place for metadata
  } else {
    weights::write_safetensors(o.out, tensors, options);
  }
  Console console(o.quiet);
  for (const std::string& note : checkpoint.notes) console.note(note);
  if (!o.quiet) {
    console.result(fmt::format("{}: {} with {} classes, {} tensors as {}{}\n", o.out.string(), o.model,
                               fit.classes, tensors.size(), o.dtype,
                               fit.folded ? ", batch norm folded" : ""));
  }
  return 0;
}

}  // namespace

Command add_import(CLI::App& program) {
  CLI::App* const app =
      program.add_subcommand("import", "Turn a weight file into safetensors or .npz for one model");
  auto o = std::make_shared<Options>();
  app->add_option("file", o->file, "safetensors or its index, .pth, .pt, .th, .npz, or a folder of .npy")
      ->required();
  app->add_option("--model", o->model, "Architecture (see `retrace models`)")->required();
  app->add_option("--out", o->out, "The file to write: NAME.safetensors or NAME.npz")->required();
  app->add_option("--dtype", o->dtype, "f32, f16 or bf16")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  app->add_flag("--fold-bn", o->fold, "Fold batch norm into the convolutions");
  app->add_flag("--quiet", o->quiet, "Say nothing when all is well");
  return {app, [o] { return run(*o); }};
}

}  // namespace retrace::tools
