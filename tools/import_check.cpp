#include "tools/import_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/input.h"
#include "engine/tape.h"
#include "tools/session.h"

namespace retrace::tools {

LogitDifference compare_logits(const std::vector<float>& source, const std::vector<float>& written) {
  if (source.empty() || source.size() != written.size()) {
    throw Error(fmt::format("{} logits, expected {}", written.size(), source.size()));
  }
  LogitDifference difference;
  double largest = 0;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (!std::isfinite(source[i]) || !std::isfinite(written[i])) {
      throw Error(fmt::format("the logit of class {} is {}, of the source {}", i, written[i], source[i]));
    }
    largest = std::max(largest, std::abs(double(source[i])));
    difference.absolute = std::max(difference.absolute, std::abs(double(source[i]) - double(written[i])));
  }
  difference.relative = difference.absolute == 0 ? 0 : difference.absolute / largest;
  const auto best = [](const std::vector<float>& z) {
    return int(std::max_element(z.begin(), z.end()) - z.begin());
  };
  difference.source_best = best(source);
  difference.written_best = best(written);
  return difference;
}

std::vector<float> logits_of(Device& device, const Model& model, const ModelInput& input,
                             const Picture& picture) {
  const image::Preprocessing preprocessing = preprocessing_of(input);
  const Picture prepared = image::prepare(picture, preprocessing);
  const std::vector<std::uint8_t> pixels(prepared.rgb.begin(), prepared.rgb.end());
  const Tensor x = normalized_input(device, pixels, 1, prepared.height, prepared.width, preprocessing.mean,
                                    preprocessing.std);
  Tape tape(device);
  return tape.value(model.forward(tape, tape.input(x))).to_host();
}

}  // namespace retrace::tools
