#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/models/load.h"
#include "tools/commands/commands.h"
#include "tools/console.h"

namespace retrace::tools {

namespace {

using Json = nlohmann::ordered_json;

Json describe(const weights::HostTensor& t) {
  Json json{{"name", t.name},
            {"dtype", weights::dtype_name(t.dtype)},
            {"shape", t.shape},
            {"bytes", t.byte_size()}};
  const std::vector<float> values = t.to_f32();
  double sum = 0, least = 0, most = 0;
  std::size_t nans = 0, infinities = 0, finite = 0;
  for (const float v : values) {
    if (std::isnan(v)) {
      ++nans;
    } else if (std::isinf(v)) {
      ++infinities;
    } else {
      least = finite ? std::min<double>(least, v) : v;
      most = finite ? std::max<double>(most, v) : v;
      sum += v;
      ++finite;
    }
  }
  const double mean = finite ? sum / double(finite) : 0;
  double squares = 0;
  for (const float v : values) {
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

int run(const std::filesystem::path& path, bool as_json) {
  const weights::Checkpoint checkpoint = weights::read_checkpoint(path);
  Json json{{"file", path.string()},     {"format", checkpoint.format}, {"metadata", checkpoint.metadata},
            {"notes", checkpoint.notes}, {"models", Json::array()},     {"tensors", Json::array()}};
  for (const CheckpointFit& fit : fitting_models(checkpoint)) {
    json["models"].push_back({{"name", fit.model}, {"classes", fit.classes}, {"folded", fit.folded}});
  }
  for (const weights::HostTensor& t : checkpoint.tensors) json["tensors"].push_back(describe(t));
  if (as_json) {
    Console().result(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return 0;
  }
  std::string text;
  text += fmt::format("{}: {}, {} tensors\n", path.string(), checkpoint.format, checkpoint.tensors.size());
  for (const std::string& note : checkpoint.notes) text += fmt::format("  {}\n", note);
  for (const auto& [key, value] : checkpoint.metadata) text += fmt::format("  {} = {}\n", key, value);
  if (json["models"].empty()) text += fmt::format("  fits no known model\n");
  for (const Json& m : json["models"]) {
    text += fmt::format("  fits {} with {} classes{}\n", m["name"].get<std::string>(),
                        m["classes"].get<int>(), m["folded"].get<bool>() ? ", batch norm folded" : "");
  }
  text += fmt::format("  {:<44} {:<5} {:<18} {:>11} {:>11} {:>11} {:>11}\n", "tensor", "dtype", "shape",
                      "min", "max", "mean", "std");
  for (const Json& t : json["tensors"]) {
    text += fmt::format("  {:<44} {:<5} {:<18}", t["name"].get<std::string>(), t["dtype"].get<std::string>(),
                        t["shape"].dump());
    if (t.contains("min")) {
      text += fmt::format(" {:>11.4g} {:>11.4g} {:>11.4g} {:>11.4g}", t["min"].get<double>(),
                          t["max"].get<double>(), t["mean"].get<double>(), t["std"].get<double>());
    }
    if (t["nan"].get<std::size_t>() || t["inf"].get<std::size_t>()) {
      text += fmt::format("  {} NaN, {} Inf", t["nan"].get<std::size_t>(), t["inf"].get<std::size_t>());
    }
    text += "\n";
  }
  Console().result(text);
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& program) {
  CLI::App* const app = program.add_subcommand("inspect", "Show what a weight file holds");
  auto path = std::make_shared<std::filesystem::path>();
  auto json = std::make_shared<bool>(false);
  app->add_option("file", *path, "safetensors or its index, .pth, .pt, .th, .npz, or a folder of .npy")
      ->required();
  app->add_flag("--json", *json, "One JSON object on standard output");
  return {app, [path, json] { return run(*path, *json); }};
}

}  // namespace retrace::tools
