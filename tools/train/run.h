// A training run from its settings to its files.
#pragma once
#include "tools/console.h"
#include "tools/train/settings.h"

namespace retrace::tools {

// Trains, validates, keeps the best and the last, logs. Returns the exit code: 0, or 1 where an interrupt (Ctrl-C) or
// termination signal stopped it; then the state is saved and --resume goes on.
int run_training(const TrainSettings& settings, Console& console);

}  // namespace retrace::tools
