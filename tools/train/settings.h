// What `retrace train` is told, and the part of it that a run must keep when it is resumed.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engine/train/trainer.h"
#include "tools/options.h"

namespace retrace::tools {

struct TrainSettings {
  CommonOptions common;
  std::string data, validation, model, augment;
  std::filesystem::path out, start;  // start: weights to begin with instead of fresh ones
  std::int64_t epochs = 0, steps = 0;
  double rate = -1, last_rate = 0;  // −1: the optimizer's usual one
  std::int64_t warm_up = -1;        // steps; −1: a twentieth of all
  std::string optimizer = "sgd";
  float momentum = 0.9f, weight_decay = -1, clip = 0, smoothing = 0, dropout = 0, average = 0;
  bool plain_momentum = false;  // without Nesterov's look ahead
  bool zero_residual = false;   // each residual branch starts as 0
  int crop = 0, resize = -1;
  std::vector<float> mean, std;
  std::int64_t checkpoint_every = 0, validate_every = 0, log_every = 20;
  int workers = 1;
  std::string dtype = "f32";
  bool resume = false;

  void add_to(const Arguments& arguments);
  // Throws UsageError naming the option that makes no sense.
  void check() const;
  // The settings that decide what comes out, by their options' names: a resumed run must have the same.
  nlohmann::ordered_json deciding() const;
};

// The names of a run's files, from --out FILE.safetensors.
struct RunFiles {
  explicit RunFiles(const std::filesystem::path& out);
  std::filesystem::path best;    // FILE.safetensors: the model that validated best, for use
  std::filesystem::path last;    // FILE.last.safetensors: everything needed to go on
  std::filesystem::path log;     // FILE.log.jsonl
  std::filesystem::path curves;  // FILE.curves.png
};

}  // namespace retrace::tools
