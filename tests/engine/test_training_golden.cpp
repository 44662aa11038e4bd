// Two training steps of ResNet-18 against PyTorch in float64: loss, every gradient, every updated weight, running
// statistics (tests/goldens/training_resnet18.safetensors; tools/reference/README.md says what it holds).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "engine/input.h"
#include "engine/models/load.h"
#include "engine/train/trainer.h"
#include "tests/common/compare.h"
#include "tests/common/test_device.h"

using namespace retrace;

namespace {

struct Golden {
  weights::Checkpoint file =
      weights::read_checkpoint(std::string(RETRACE_GOLDENS) + "/training_resnet18.safetensors");

  std::vector<float> get(const std::string& name) const {
    const auto* t = file.find(name);
    REQUIRE_MESSAGE(t, name);
    return t->to_f32();
  }
  const std::string& meta(const std::string& key) const { return file.metadata.at(key); }
};

// The values that the golden file samples, from the whole tensor.
std::vector<float> sampled(const std::vector<float>& all) {
  if (all.size() <= 256) return all;
  std::vector<float> some;
  for (std::uint64_t i = 0; i < 256; ++i) {
    const std::uint64_t at = (i * 2654435769u % (std::uint64_t(1) << 32)) * all.size() >> 32;
    some.push_back(all[std::size_t(at)]);
  }
  return some;
}

double norm(const std::vector<float>& values) {
  double square = 0;
  for (const float v : values) square += double(v) * v;
  return std::sqrt(square);
}

// The worst of many comparisons, printed at the end.
struct Worst {
  double rms = 0;
  std::string where = "nothing";
  void add(const std::string& name, const Comparison& c) {
    if (c.relative_rms > rms) rms = c.relative_rms, where = name + ": " + c.message();
  }
};

// fp32 through 18 layers and their statistics, forward and back. PyTorch's own float32 is up to 2.4e-6 off its
// float64 in a gradient of the first step and 4e-6 in the second (the file says so for each tensor); another order of
// summation deserves the same again.
constexpr double tolerance = 1e-5;

}  // namespace

TEST_CASE("two steps of ResNet-18 are PyTorch's") {
  Device& device = test_device();
  const Golden golden;
  const std::string model = golden.meta("model");
  const int classes = std::stoi(golden.meta("classes"));
  const auto specs = model_parameters(model, classes);
  auto start = seeded_parameters(model, classes, std::stoull(golden.meta("seed")));
  for (std::size_t p = 0; p < specs.size(); ++p) {
    if (!specs[p].name.ends_with("bn2.weight")) continue;
    for (float& v : start[p].values) v *= std::stof(golden.meta("bn2_weight_scale"));
  }
  std::vector<std::uint8_t> pixels;
  for (const float v : golden.get("pixels")) pixels.push_back(std::uint8_t(v));
  const auto& shape = golden.file.find("pixels")->shape;
  const int n = int(shape[0]);
  const ModelInput input;
  const Tensor x = normalized_input(device, pixels, n, int(shape[1]), int(shape[2]), input.mean, input.std);
  std::vector<float> one_hot(std::size_t(n * classes));
  const auto targets = golden.get("targets");
  for (int i = 0; i < n; ++i) one_hot[std::size_t(i * classes) + std::size_t(targets[std::size_t(i)])] = 1;
  const Tensor wanted = Tensor::from_host(device, {n, classes}, one_hot);

  for (const std::string name : {"sgd", "adamw"}) {
    CAPTURE(name);
    TrainOptions options;
    options.model = model;
    options.classes = classes;
    options.smoothing = std::stof(golden.meta("label_smoothing"));
    options.optimizer.kind = name == "sgd" ? OptimizerKind::sgd : OptimizerKind::adamw;
    options.optimizer.weight_decay = std::stof(golden.meta(name + ".weight_decay"));
    if (name == "sgd") {
      options.optimizer.momentum = std::stof(golden.meta("sgd.momentum"));
    } else {
      options.optimizer.epsilon = std::stof(golden.meta("adamw.eps"));
    }
    const double rate = std::stod(golden.meta(name + ".lr"));
    options.schedule = {.peak = rate, .last = rate, .warm_up = 0, .steps = 2};
    Trainer trainer(device, options, start);
    for (int step = 1; step <= 2; ++step) {
      CAPTURE(step);
      const std::string forward = step == 1 ? "step1" : name + ".step2";
      const std::string update = name + ".step" + std::to_string(step);
      const StepResult result = trainer.step(x, wanted);
      CHECK(std::abs(result.loss / golden.get(forward + ".loss")[0] - 1) <= tolerance);
      CHECK_CLOSE(result.logits, golden.get(forward + ".logits"), 1e-4, tolerance);

      const ParameterStore& store = trainer.network().parameters();
      ParameterArrays gradients = store.gradients();
      gradients[2] = store.values()[2];  // statistics have none; their places are not looked at
      const auto slopes = store.to_host(gradients), values = trainer.parameters();
      Worst gradient, parameter, statistic, norms;
      for (std::size_t p = 0; p < specs.size(); ++p) {
        const std::string& of = specs[p].name;
        if (store.all()[p].kind == ParameterKind::statistic) {
          statistic.add(of, compare(sampled(values[p].values), golden.get(forward + "." + of)));
          continue;
        }
        gradient.add(of, compare(sampled(slopes[p].values), golden.get(forward + ".gradient." + of)));
        parameter.add(of, compare(sampled(values[p].values), golden.get(update + "." + of)));
        // The norms of the whole tensors: nothing can hide between the samples.
        norms.add(of, compare(std::vector<double>{norm(slopes[p].values)},
                              golden.get(forward + ".gradient_norm." + of)));
        std::vector<float> change(values[p].values.size());
        for (std::size_t i = 0; i < change.size(); ++i) change[i] = values[p].values[i] - start[p].values[i];
        const double want = golden.get(update + ".change_norm." + of)[0];
        // A weight of 1 in float32 holds a change to 6e-8 of itself.
        const double rounding = 6e-8 * std::max(1.0, norm(start[p].values));
        CHECK_MESSAGE(std::abs(norm(change) - want) <= tolerance * want + rounding, of);
      }
      std::cout << update << ": loss " << result.loss << "\n  gradient, " << gradient.where
                << "\n  parameter, " << parameter.where << "\n  statistics, " << statistic.where
                << "\n  gradient norm, " << norms.where << "\n";
      CHECK_MESSAGE(gradient.rms <= tolerance, gradient.where);
      CHECK_MESSAGE(parameter.rms <= tolerance, parameter.where);
      CHECK_MESSAGE(statistic.rms <= tolerance, statistic.where);
      CHECK_MESSAGE(norms.rms <= tolerance, norms.where);
    }
  }
}
