// The file a training run goes on from.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/models/load.h"
#include "engine/train/trainer.h"
#include "tools/train/settings.h"

namespace retrace::tools {

// Sums since the last line of the log.
struct Window {
  std::int64_t steps = 0, samples = 0, right = 0;
  double loss = 0, norm = 0;
};

struct RunState {
  std::int64_t step = 0;       // steps done
  std::int64_t samples = 0;    // of the training data: the schedule and the order depend on it
  std::int64_t validated = 0;  // the step that was validated last
  double accuracy = 0;         // then
  double best_accuracy = -1;   // on the validation data; −1: not validated yet
  std::int64_t best_step = 0;
  double seconds = 0;  // spent training, by all sessions together
  Window window;
};

// Writes parameters, optimizer, moving average, progress and settings as one safetensors file: the old file or the new
// one is there at any moment, never a part. Error where it cannot be written.
void save_state(const std::filesystem::path& path, const Trainer& trainer, const RunState& state,
                const TrainSettings& settings, const ModelNotes& notes);

struct SavedRun {
  RunState state;
  std::vector<ParameterValue> values;
  std::map<std::string, std::vector<float>> arrays;  // for Trainer::restore
};
// Reads it back. UsageError naming the first option that differs from the run's; Error for a file that is no such state,
// or where the data has other classes or another size than it had.
SavedRun load_state(const std::filesystem::path& path, const TrainSettings& settings,
                    const std::vector<std::string>& labels, std::size_t samples);

// The finished model, for use: learnt values as `dtype`, with what is known about it as metadata.
void save_model(const std::filesystem::path& path, const Trainer& trainer, const TrainSettings& settings,
                const ModelNotes& notes, const std::map<std::string, std::string>& more);

}  // namespace retrace::tools
