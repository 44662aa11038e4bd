#include "tools/train/settings.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace retrace::tools {

void TrainSettings::add_to(const Arguments& arguments) {
  arguments.add("--data", data, "What to learn from: scenes:…, idx:FOLDER or folder:FOLDER").required();
  arguments.add("--validate", validation, "What to validate with; without it the last model is kept");
  arguments.add("--model", model, "Architecture (see `retrace models`); resnet18_w16 is resnet18, 16 wide")
      .required();
  arguments.add("--out", out, "The model file to write, FILE.safetensors; its log and state lie beside it")
      .required();
  arguments.add("--weights", start, "Start from this file instead of fresh weights");
  arguments.add("--epochs", epochs, "How often to see the whole data").above_zero();
  arguments.add("--steps", steps, "How many batches, instead of --epochs").above_zero();
  arguments.add("--optimizer", optimizer, "sgd or adamw").one_of({"sgd", "adamw"}).shows_default();
  arguments.add("--rate", rate, "Highest learning rate (usual: 0.1 for sgd, 0.001 for adamw)").above_zero();
  arguments.add("--last-rate", last_rate, "Learning rate at the end of the cosine").shows_default();
  arguments.add("--warm-up", warm_up, "Steps of linear warm-up (usual: a twentieth of all)").zero_or_more();
  arguments.add("--momentum", momentum, "Of sgd").shows_default();
  arguments.flag("--plain-momentum", plain_momentum, "Momentum without Nesterov's look ahead");
  arguments
      .add("--weight-decay", weight_decay,
           "Of convolutions' and the head's weights (usual: 0.0005 for sgd, 0.05 for adamw)")
      .zero_or_more();
  arguments.add("--clip", clip, "Largest norm of all gradients together; 0: any").shows_default();
  arguments.add("--smoothing", smoothing, "Of labels").shows_default();
  arguments.add("--dropout", dropout, "In front of the head").shows_default();
  arguments
      .add("--average", average, "Decay of a moving average of the weights, which is then validated and kept")
      .shows_default();
  arguments.flag("--zero-residual", zero_residual, "Start every residual branch at 0");
  arguments.add("--augment", augment, "E.g. crop=4,flip,jitter=0.2");
  arguments.add("--crop", crop, "Side of the network's input (usual: the data's own size)").within(1, 4096);
  arguments.add("--resize", resize, "Shorter side before the crop; 0: both sides to --crop").within(0, 16384);
  arguments.add("--mean", mean, "Three numbers").three_numbers();
  arguments.add("--std", std, "Three numbers").three_numbers();
  arguments.add("--validate-every", validate_every, "Steps (usual: an epoch)").above_zero();
  arguments.add("--checkpoint-every", checkpoint_every, "Steps (usual: as --validate-every)").above_zero();
  arguments.add("--log-every", log_every, "Steps").shows_default();
  arguments.add("--workers", workers, "Threads that make batches ready").shows_default();
  arguments.add("--dtype", dtype, "Of the model file: f32, f16 or bf16")
      .one_of({"f32", "f16", "bf16"})
      .shows_default();
  arguments.flag("--resume", resume, "Go on where an earlier run stopped");
  common.batch = 64;
  common.add_to(arguments);
}

void TrainSettings::check() const {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw UsageError(what);
  };
  require((epochs > 0) != (steps > 0), "expected either --epochs or --steps, above 0");
  require(out.extension() == ".safetensors",
          fmt::format("--out {}: expected a name that ends in .safetensors", out.string()));
  require(rate == -1 || (rate > 0 && std::isfinite(rate)),
          fmt::format("--rate {}: expected a number above 0", rate));
  require(last_rate >= 0 && std::isfinite(last_rate),
          fmt::format("--last-rate {}: expected 0 or more", last_rate));
  require(momentum >= 0 && momentum < 1, fmt::format("--momentum {}: expected 0 to below 1", momentum));
  require(weight_decay == -1 || (weight_decay >= 0 && std::isfinite(weight_decay)),
          fmt::format("--weight-decay {}: expected 0 or more", weight_decay));
  require(clip >= 0 && std::isfinite(clip), fmt::format("--clip {}: expected 0 or more", clip));
  require(smoothing >= 0 && smoothing < 1, fmt::format("--smoothing {}: expected 0 to below 1", smoothing));
  require(dropout >= 0 && dropout < 1, fmt::format("--dropout {}: expected 0 to below 1", dropout));
  require(average >= 0 && average < 1, fmt::format("--average {}: expected 0 to below 1", average));
  require(crop >= 0 && crop <= 4096, fmt::format("--crop {}: expected 1 to 4096", crop));
  require(workers >= 1 && workers <= 64, fmt::format("--workers {}: expected 1 to 64", workers));
  require(log_every >= 1, fmt::format("--log-every {}: expected 1 or more", log_every));
  require(validate_every >= 0, fmt::format("--validate-every {}: expected 1 or more", validate_every));
  require(checkpoint_every >= 0, fmt::format("--checkpoint-every {}: expected 1 or more", checkpoint_every));
  for (const float m : mean) require(std::isfinite(m), fmt::format("--mean {}: expected a number", m));
  for (const float s : std) {
    require(s > 0 && std::isfinite(s), fmt::format("--std {}: expected a number above 0", s));
  }
}

nlohmann::ordered_json TrainSettings::deciding() const {
  return {{"--data", data},
          {"--validate", validation},
          {"--model", model},
          {"--weights", start.string()},
          {"--epochs", epochs},
          {"--steps", steps},
          {"--batch", common.batch},
          {"--seed", common.seed},
          {"--optimizer", optimizer},
          {"--rate", rate},
          {"--last-rate", last_rate},
          {"--warm-up", warm_up},
          {"--momentum", momentum},
          {"--plain-momentum", plain_momentum},
          {"--weight-decay", weight_decay},
          {"--clip", clip},
          {"--smoothing", smoothing},
          {"--dropout", dropout},
          {"--average", average},
          {"--zero-residual", zero_residual},
          {"--augment", augment},
          {"--crop", crop},
          {"--resize", resize},
          {"--mean", mean},
          {"--std", std},
          {"--validate-every", validate_every}};
}

RunFiles::RunFiles(const std::filesystem::path& out) : best(out) {
  const auto beside = [&](const char* end) {
    std::filesystem::path path = out;
    return path.replace_extension(end);
  };
  last = beside(".last.safetensors");
  log = beside(".log.jsonl");
  curves = beside(".curves.png");
}

}  // namespace retrace::tools
