// Whether an imported network still answers as its source does.
#pragma once
#include <vector>

#include "attribution/render/picture.h"
#include "engine/models/load.h"

namespace retrace::tools {

struct LogitDifference {
  double absolute = 0;  // the largest of any class
  double relative = 0;  // that, of the source's largest logit by magnitude
  int source_best = 0, written_best = 0;
};

// Error if the two are not of one length or a logit is not finite.
LogitDifference compare_logits(const std::vector<float>& source, const std::vector<float>& written);

// Beyond this the network that was written in f32 is another one.
inline constexpr double most_relative_difference = 1e-2;

// The logits of one picture, prepared as `input` says.
std::vector<float> logits_of(Device& device, const Model& model, const ModelInput& input,
                             const Picture& picture);

}  // namespace retrace::tools
