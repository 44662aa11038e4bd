#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/models/load.h"
#include "tools/commands/commands.h"
#include "tools/console.h"
#include "weights/checked.h"
#include "weights/sha256.h"

namespace retrace::tools {

namespace {

using Json = nlohmann::ordered_json;

Json describe(const weights::HostTensor& t) {
  Json json{{"name", t.name},
            {"dtype", weights::dtype_name(t.dtype)},
            {"shape", t.shape},
            {"bytes", t.byte_size()}};
  const std::vector<double> values = t.to_f64();
  double sum = 0, least = 0, most = 0;
  std::size_t nans = 0, infinities = 0, finite = 0;
  for (const double v : values) {
    if (std::isnan(v)) {
      ++nans;
    } else if (std::isinf(v)) {
      ++infinities;
    } else {
      least = finite ? std::min(least, v) : v;
      most = finite ? std::max(most, v) : v;
      sum += v;
      ++finite;
    }
  }
  const double mean = finite ? sum / double(finite) : 0;
  double squares = 0;
  for (const double v : values) {
    if (std::isfinite(v)) squares += (v - mean) * (v - mean);
  }
  if (finite) {
    json["min"] = least;
    json["max"] = most;
    json["mean"] = mean;
    json["std"] = std::sqrt(squares / double(finite));
  }
  json["nan"] = nans;
  json["inf"] = infinities;
  return json;
}

// A model that the file fits or nearly fits.
Json describe(const CheckpointFit& fit) {
  return {{"name", fit.model},  {"classes", fit.classes}, {"folded", fit.folded},
          {"taken", fit.taken}, {"ignored", fit.ignored}, {"names", fit.naming.notes()}};
}

std::string text_of(const Json& fit) {
  std::string text =
      fmt::format("{} with {} classes{}", fit["name"].get<std::string>(), fit["classes"].get<int>(),
                  fit["folded"].get<bool>() ? ", batch norm folded" : "");
  for (const Json& note : fit["names"]) text += ", " + note.get<std::string>();
  return text;
}

std::string fit_text(const Json& fit) {
  std::string text = fmt::format("  fits {}: all {} tensors by name and shape", text_of(fit),
                                 fit["taken"].get<std::size_t>());
  const std::size_t ignored = fit["ignored"].get<std::size_t>();
  return text + (ignored ? fmt::format(", {} counters ignored\n", ignored) : "\n");
}

// What the file is most like, and the first differences; null where nothing is alike.
Json nearest_of(const weights::Checkpoint& checkpoint, const CheckpointFit& fit) {
  constexpr std::size_t shown = 3;
  const std::string misfit =
      checkpoint.graph ? "" : weights::known_misfit(weights::renamed(checkpoint, fit.naming));
  if (fit.taken == 0 && misfit.empty()) return nullptr;
  Json json = describe(fit);
  json["differing"] = fit.differing;
  json["differences"] = Json::array();
  if (checkpoint.graph) {
    json["differences"].push_back(fit.graph_error);
    return json;
  }
  for (const weights::MatchRow& row : compare(checkpoint, fit)) {
    if (row.differs() && json["differences"].size() < shown) json["differences"].push_back(row.text());
  }
  if (!misfit.empty()) json["known_as"] = misfit;
  return json;
}

std::string nearest_text(const Json& nearest) {
  if (nearest.is_null()) return "  fits no known model\n";
  std::string text = fmt::format("  fits no known model; nearest is {}, from which {} tensors differ:\n",
                                 text_of(nearest), nearest["differing"].get<std::size_t>());
  for (const Json& difference : nearest["differences"])
    text += fmt::format("    {}\n", difference.get<std::string>());
  if (nearest["differing"].get<std::size_t>() > nearest["differences"].size()) text += "    ...\n";
  if (nearest.contains("known_as"))
    text += fmt::format("  it is {}\n", nearest["known_as"].get<std::string>());
  return text;
}

int run(const std::filesystem::path& path, bool as_json) {
  const weights::Checkpoint checkpoint = weights::read_checkpoint(path);
  Console console;
  try {
    weights::check_content(checkpoint);
  } catch (const Error& error) {
    console.error(error.what());  // what the file holds is shown all the same
  }
  weights::Checkpoint model = checkpoint;
  drop_training_state(model);
  std::size_t bytes = 0;
  for (const weights::HostTensor& t : checkpoint.tensors) bytes += t.byte_size();
  Json json{{"file", path.string()},
            {"format", checkpoint.format},
            {"container", checkpoint.container},
            {"bytes", bytes},
            {"metadata", checkpoint.metadata},
            {"notes", model.notes},
            {"models", Json::array()},
            {"nearest", nullptr},
            {"tensors", Json::array()}};
  const std::vector<CheckpointFit> ranked = rank_models(model);
  for (const CheckpointFit& fit : ranked) {
    if (fit.differing == 0) json["models"].push_back(describe(fit));
  }
  if (json["models"].empty()) json["nearest"] = nearest_of(model, ranked.front());
  if (checkpoint.metadata.contains(weights::content_sha256_key))
    json["content_holds"] = console.errors() == 0;
  for (const weights::HostTensor& t : checkpoint.tensors) json["tensors"].push_back(describe(t));
  if (as_json) {
    console.result(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return console.errors() ? 1 : 0;
  }
  std::string text;
  text += fmt::format("{}: {}, {} tensors, {} bytes\n", path.string(), checkpoint.format,
                      checkpoint.tensors.size(), bytes);
  for (const auto& [key, value] : checkpoint.container)
    text += fmt::format("  container's {}: {}\n", key, weights::printable(value));
  for (const std::string& note : model.notes) text += fmt::format("  {}\n", weights::printable(note));
  for (const auto& [key, value] : checkpoint.metadata) {
    text += fmt::format("  {} = {}\n", weights::printable(key), weights::printable(value));
  }
  for (const Json& fit : json["models"]) text += fit_text(fit);
  if (json["models"].empty()) text += nearest_text(json["nearest"]);
  text += fmt::format("  {:<44} {:<5} {:<18} {:>10} {:>11} {:>11} {:>11} {:>11}\n", "tensor", "dtype",
                      "shape", "bytes", "min", "max", "mean", "std");
  for (const Json& t : json["tensors"]) {
    text += fmt::format("  {:<44} {:<5} {:<18} {:>10}", weights::printable(t["name"].get<std::string>()),
                        t["dtype"].get<std::string>(), t["shape"].dump(), t["bytes"].get<std::size_t>());
    if (t.contains("min")) {
      text += fmt::format(" {:>11.4g} {:>11.4g} {:>11.4g} {:>11.4g}", t["min"].get<double>(),
                          t["max"].get<double>(), t["mean"].get<double>(), t["std"].get<double>());
    }
    if (t["nan"].get<std::size_t>() || t["inf"].get<std::size_t>()) {
      text += fmt::format("  {} NaN, {} Inf", t["nan"].get<std::size_t>(), t["inf"].get<std::size_t>());
    }
    text += "\n";
  }
  console.result(text);
  return console.errors() ? 1 : 0;
}

}  // namespace

Command add_inspect(const Arguments& program) {
  const Arguments arguments = program.command("inspect", "Show what a weight file holds");
  auto path = std::make_shared<std::filesystem::path>();
  auto json = std::make_shared<bool>(false);
  arguments.add("file", *path, "safetensors or its index, .pth, .pt, .th, .onnx, .npz, or a folder of .npy")
      .required();
  arguments.flag("--json", *json, "One JSON object on standard output");
  return {arguments, [path, json] { return run(*path, *json); }};
}

}  // namespace retrace::tools
