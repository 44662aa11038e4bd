#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "engine/models/fold_written.h"
#include "engine/models/load.h"
#include "tools/commands/commands.h"
#include "tools/console.h"
#include "tools/image/picture.h"
#include "tools/import_check.h"
#include "tools/session.h"
#include "weights/checked.h"
#include "weights/npz_writer.h"
#include "weights/rename.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace retrace::tools {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
  CommonOptions common;  // device, threads and quiet are offered
  std::filesystem::path file, out, check;
  std::string model, dtype = "f32";
  std::vector<std::string> maps;
  bool fold = false, ema = false, dry_run = false, json = false;
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

void check_usage(const Options& o) {
  (void)model_info(o.model);  // an unknown name is wrong usage, whatever the file
  if (o.out.empty() && !o.dry_run) throw UsageError("--out: expected the file to write (or --dry-run)");
  if (o.json && !o.dry_run) throw UsageError("--json: goes with --dry-run only");
  if (!o.out.empty()) (void)wants_npz(o);
  if (o.dry_run && !o.check.empty()) throw UsageError("--check: needs what --dry-run does not write");
}

// What the file holds, and under which names the model takes it.
struct Source {
  weights::Checkpoint checkpoint;
  std::vector<std::string> names;  // in the file, before --map
  CheckpointFit fit;
};

Source read_source(const Options& o, const weights::Renaming& renaming) {
  Source source{weights::read_checkpoint(o.file), {}, {}};
  weights::Checkpoint& checkpoint = source.checkpoint;
  weights::check_content(checkpoint);
  if (o.ema) weights::take_averaged(checkpoint);
  drop_training_state(checkpoint);
  if (checkpoint.graph) {
    checkpoint = named_by_graph(checkpoint, o.model, source.names);
  } else {
    for (const weights::HostTensor& tensor : checkpoint.tensors) source.names.push_back(tensor.name);
  }
  std::vector<std::string> names;
  for (const std::size_t i : renaming.apply(checkpoint)) names.push_back(source.names[i]);
  source.names = std::move(names);
  source.fit = fit_for(checkpoint, o.model);
  return source;
}

// The mapping, tensor by tensor; nothing is written. The exit code says whether the file fits.
int show_mapping(const Options& o, const Source& source, const std::vector<std::string>& notes,
                 Console& console) {
  const CheckpointFit& fit = source.fit;
  Json json{{"file", o.file.string()}, {"model", fit.model},         {"classes", fit.classes},
            {"folded", fit.folded},    {"fits", fit.differing == 0}, {"notes", notes},
            {"tensors", Json::array()}};
  std::string text =
      fmt::format("{:<58} {:<34} {:<5} {:<18} {}\n", "in the file", "in the model", "dtype", "shape", "what");
  for (const weights::MatchRow& row : compare(source.checkpoint, fit)) {
    const weights::HostTensor* const tensor = row.index ? &source.checkpoint.tensors[*row.index] : nullptr;
    const std::string name = row.index ? source.names[*row.index] : "-";
    const std::string dtype(tensor ? weights::dtype_name(tensor->dtype) : "-");
    const std::string shape = weights::shape_text(tensor ? row.found : row.expected);
    std::string what(weights::match_name(row.kind));
    if (row.kind == weights::MatchKind::wrong_shape)
      what += ", expected " + weights::shape_text(row.expected);
    if (row.kind == weights::MatchKind::ignored) what += " (counter)";
    text += fmt::format("{:<58} {:<34} {:<5} {:<18} {}\n", weights::printable(name),
                        weights::printable(row.name), dtype, shape, what);
    Json line{{"file", nullptr}, {"model", row.name}, {"dtype", nullptr}, {"shape", nullptr}};
    if (tensor) line.update({{"file", name}, {"dtype", dtype}, {"shape", row.found}});
    if (row.kind == weights::MatchKind::wrong_shape || !tensor) line["expected"] = row.expected;
    line["what"] = weights::match_name(row.kind);
    json["tensors"].push_back(std::move(line));
  }
  console.result(o.json ? json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n" : text);
  // Says what is wrong, with the values too.
  (void)take_tensors(source.checkpoint, fit);
  return 0;
}

// Runs the network as it was read, with its batch norms apart, and as it was written on the picture.
int run_check(const Options& o, Device& device, const Picture& picture, const ModelInput& input,
              const Source& read, Console& console) {
  const CheckpointFit& fit = read.fit;
  const std::vector<ParameterValue> values = take_parameters(read.checkpoint, fit);
  const std::vector<float> source = logits_of(
      device, *(fit.folded ? build_model : build_unfolded_model)(device, fit.model, fit.classes, values),
      input, picture);
  const LoadedModel written = load_model(device, o.model, weights::read_checkpoint(o.out));
  const LogitDifference d = compare_logits(source, logits_of(device, *written.model, input, picture));
  if (!o.common.quiet) {
    const std::string best = d.source_best == d.written_best
                                 ? fmt::format("the best class agrees ({})", d.source_best)
                                 : fmt::format("the best class was {}, is {}", d.source_best, d.written_best);
    console.result(fmt::format("{}: logits differ by at most {:.3g}, relative to the largest {:.3g}; {}\n",
                               o.check.string(), d.absolute, d.relative, best));
  }
  if (o.dtype != "f32" || d.relative <= most_relative_difference) return 0;
  console.error(
      fmt::format("{}: was written, but is not the network that was read: its logits differ by {:.3g} of "
                  "the largest, expected at most {}",
                  o.out.string(), d.relative, most_relative_difference));
  return 1;
}

int run(const Options& o) {
  check_usage(o);
  const weights::Renaming renaming(o.maps);
  // What --check needs is looked at before anything is written.
  std::unique_ptr<Device> device;
  Picture picture;
  if (!o.check.empty()) {
    device = open_device(o.common);
    picture = image::load_picture(o.check);
  }
  const Source source = read_source(o, renaming);
  const weights::Checkpoint& checkpoint = source.checkpoint;
  CheckpointFit fit = source.fit;  // of what is written
  std::vector<std::string> said = checkpoint.notes;
  for (const std::string& note : fit_notes(fit)) said.push_back(note);
  const auto other = checkpoint.metadata.find("model");
  if (checkpoint.format == "safetensors" && other != checkpoint.metadata.end() && other->second != o.model) {
    said.push_back(fmt::format("the file says it is a {}: its labels and preprocessing are not taken",
                               weights::quote(other->second)));
  }
  Console console(o.common.quiet);
  // Before the dry run too: it says whether an import would go through.
  const ModelInfo& info = model_info(o.model);
  // What an own file says of itself stays with it.
  ModelNotes notes = read_model_notes(checkpoint, o.model, fit.classes, {{}, info.input});
  if (notes.labels.empty() && fit.classes == info.classes && !info.labels.empty()) {
    notes.labels = info.labels;
    said.push_back(fmt::format("the file names no classes: the usual ones of {} are taken ({} … {})", o.model,
                               info.labels.front(), info.labels.back()));
  }
  if (o.dry_run) {
    for (const std::string& note : said) console.note(note);
    return show_mapping(o, source, said, console);
  }

  // What keeps its type goes from the file's bytes to the new file; the rest is made tensor by tensor.
  const std::vector<weights::HostTensor> read = take_tensors(checkpoint, fit);
  const bool fold = o.fold && !fit.folded;
  const std::vector<weights::TensorToWrite> tensors =
      fold ? folded_when_written(fit.model, fit.classes, read) : weights::to_write(read);
  fit.folded |= fold;
  weights::SafetensorsOptions options;
  options.metadata = model_metadata(o.model, fit.classes, notes);
  options.metadata["batch_norm"] = fit.folded ? "folded" : "separate";
  options.float_type = type_of(o.dtype);
  options.content_hash = true;
  try {
    if (wants_npz(o)) {
      weights::write_npz(o.out, tensors, options.float_type);  // has no place for metadata
    } else {
      weights::write_safetensors(o.out, tensors, options);
    }
  } catch (const Error& error) {
    // A value that does not fit another type, or a variance that cannot be folded: that is the read file's.
    const std::string what = error.what();
    throw what.starts_with(o.out.string()) ? error : Error(fmt::format("{}: {}", o.file.string(), what));
  }
  for (const std::string& note : said) console.note(note);
  if (!o.common.quiet) {
    console.result(fmt::format("{}: {} with {} classes, {} tensors as {}{}\n", o.out.string(), o.model,
                               fit.classes, tensors.size(), o.dtype,
                               fit.folded ? ", batch norm folded" : ""));
  }
  return device ? run_check(o, *device, picture, notes.input, source, console) : 0;
}

}  // namespace

Command add_import(const Arguments& program) {
  const Arguments arguments =
      program.command("import", "Turn a weight file into safetensors or .npz for one model");
  auto o = std::make_shared<Options>();
  arguments.add("file", o->file, "safetensors or its index, .pth, .pt, .th, .onnx, .npz, or a folder of .npy")
      .required();
  arguments.add("--model", o->model, "Architecture (see `retrace models`)").required();
  arguments.add("--out", o->out, "The file to write: NAME.safetensors or NAME.npz");
  arguments.add("--dtype", o->dtype, "f32, f16 or bf16").one_of({"f32", "f16", "bf16"}).shows_default();
  arguments.flag("--fold-bn", o->fold, "Fold batch norm into the convolutions");
  arguments
      .add("--map", o->maps,
           "REGEX=REPLACEMENT (ECMAScript): rename tensors before they are fitted; one of which nothing is "
           "left is left out; repeatable")
      .one_value_a_time();
  arguments.flag("--ema", o->ema, "Take the averaged weights of a file that has plain and averaged ones");
  arguments.flag("--dry-run", o->dry_run, "Show what would be taken, tensor by tensor, and write nothing");
  arguments.flag("--json", o->json, "With --dry-run: one JSON object on standard output");
  arguments.add("--check", o->check, "A picture: compare the logits of the written file with its source's");
  arguments.add("--device", o->common.device, "Of --check: auto, cuda, cuda:N or sim").shows_default();
  arguments.add("--threads", o->common.threads, "OS threads of the simulator (0: one per core)")
      .within(0, 1024)
      .shows_default();
  arguments.flag("--quiet", o->common.quiet, "Say nothing when all is well");
  return {arguments, [o] { return run(*o); }};
}

}  // namespace retrace::tools
