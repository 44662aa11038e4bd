#include "tools/train/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/input.h"
#include "tools/data/loader.h"

namespace retrace::tools {

std::optional<Validation> validate_values(Device& device, const std::string& model,
                                          const std::vector<ParameterValue>& values,
                                          const data::Dataset& data, const image::Preprocessing& input,
                                          const ModelInput& normalise, int batch, int threads,
                                          const std::function<bool()>& stop) {
  const int classes = int(data.labels().size());
  const auto network = build_model(device, model, classes, fold_model(model, classes, values));
  data::LoaderOptions loading{.batch = batch, .input = input, .augmentation = {}, .shuffle = false};
  loading.threads = threads;
  data::BatchLoader loader(data, loading);
  Validation result;
  double right = 0, loss = 0;
  while (const auto next = loader.next()) {
    Tape tape(device);
    const Tensor x = normalized_input(device, next->pixels, next->n, next->height, next->width,
                                      normalise.mean, normalise.std);
    const Tensor& z = tape.value(network->forward(tape, tape.input(x)));
    const Tensor targets = Tensor::from_host(device, {next->n, classes}, next->targets),
                 losses(device, {next->n});
    kernels::CrossEntropy entropy{.rows = next->n, .columns = classes, .logits = z.data()};
    entropy.targets = targets.data();
    entropy.loss = losses.data();
    device.kernels().cross_entropy(entropy, device.stream());
    const auto logits = z.to_host();
    for (std::size_t i = 0; i < std::size_t(next->n); ++i) {
      const auto row = logits.begin() + std::ptrdiff_t(i) * classes;
      right +=
          next->targets[i * std::size_t(classes) + std::size_t(std::max_element(row, row + classes) - row)] >
          0;
    }
    for (const float v : losses.to_host()) loss += v;
    if (!std::isfinite(loss)) throw Error(fmt::format("the loss on {} is not finite", data.spec()));
    result.samples += std::size_t(next->n);
    if (stop()) return std::nullopt;
  }
  result.accuracy = right / double(result.samples);
  result.loss = loss / double(result.samples);
  return result;
}

}  // namespace retrace::tools
