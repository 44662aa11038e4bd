// How well parameters classify a data set they were not trained on.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/models/model.h"
#include "tools/data/dataset.h"
#include "tools/image/preprocess.h"

namespace retrace::tools {

struct Validation {
  double loss = 0;      // cross-entropy with the data's targets, without smoothing
  double accuracy = 0;  // share of samples whose best class is theirs, or one of theirs
  std::size_t samples = 0;
};

// Folds batch norm into the convolutions, as every use of the model does, and runs the whole data set once; nothing
// where `stop`, asked after each batch, says so. Error if the loss is not finite.
std::optional<Validation> validate_values(Device& device, const std::string& model,
                                          const std::vector<ParameterValue>& values,
                                          const data::Dataset& data, const image::Preprocessing& input,
                                          const ModelInput& normalise, int batch, int threads,
                                          const std::function<bool()>& stop);

}  // namespace retrace::tools
