#include "tools/train/settings.h"

#include <fmt/format.h>

#include <cmath>

namespace retrace::tools {

void TrainSettings::add_to(CLI::App& app) {
  app.add_option("--data", data, "What to learn from: scenes:…, idx:FOLDER or folder:FOLDER")->required();
  app.add_option("--validate", validation, "What to validate with; without it the last model is kept");
  app.add_option("--model", model, "Architecture (see `retrace models`); resnet18_w16 is resnet18, 16 wide")
      ->required();
  app.add_option("--out", out, "The model file to write, FILE.safetensors; its log and state lie beside it")
      ->required();
  app.add_option("--weights", start, "Start from this file instead of fresh weights");
  app.add_option("--epochs", epochs, "How often to see the whole data")->check(CLI::PositiveNumber);
  app.add_option("--steps", steps, "How many batches, instead of --epochs")->check(CLI::PositiveNumber);
  app.add_option("--optimizer", optimizer, "sgd or adamw")
      ->check(CLI::IsMember({"sgd", "adamw"}))
      ->capture_default_str();
  app.add_option("--rate", rate, "Highest learning rate (usual: 0.1 for sgd, 0.001 for adamw)")
      ->check(CLI::PositiveNumber);
  app.add_option("--last-rate", last_rate, "Learning rate at the end of the cosine")->capture_default_str();
  app.add_option("--warm-up", warm_up, "Steps of linear warm-up (usual: a twentieth of all)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--momentum", momentum, "Of sgd")->capture_default_str();
  app.add_flag("--plain-momentum", plain_momentum, "Momentum without Nesterov's look ahead");
  app.add_option("--weight-decay", weight_decay,
                 "Of convolutions' and the head's weights (usual: 0.0005 for sgd, 0.05 for adamw)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--clip", clip, "Largest norm of all gradients together; 0: any")->capture_default_str();
  app.add_option("--smoothing", smoothing, "Of labels")->capture_default_str();
  app.add_option("--dropout", dropout, "In front of the head")->capture_default_str();
  app.add_option("--average", average,
                 "Decay of a moving average of the weights, which is then validated and kept")
      ->capture_default_str();
  app.add_flag("--zero-residual", zero_residual, "Start every residual branch at 0");
  app.add_option("--augment", augment, "E.g. crop=4,flip,jitter=0.2");
  app.add_option("--crop", crop, "Side of the network's input (usual: the data's own size)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--resize", resize, "Shorter side before the crop; 0: both sides to --crop")
      ->check(CLI::Range(0, 16384));
  app.add_option("--mean", mean, "Three numbers")->expected(3)->delimiter(',');
  app.add_option("--std", std, "Three numbers")->expected(3)->delimiter(',');
  app.add_option("--validate-every", validate_every, "Steps (usual: an epoch)")->check(CLI::PositiveNumber);
  app.add_option("--checkpoint-every", checkpoint_every, "Steps (usual: as --validate-every)")
      ->check(CLI::PositiveNumber);
  app.add_option("--log-every", log_every, "Steps")->capture_default_str();
  app.add_option("--workers", workers, "Threads that make batches ready")->capture_default_str();
  app.add_option("--dtype", dtype, "Of the model file: f32, f16 or bf16")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  app.add_flag("--resume", resume, "Go on where an earlier run stopped");
  common.batch = 64;
  common.add_to(app);
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
