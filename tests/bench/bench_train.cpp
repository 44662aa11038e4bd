// Prints how long a training step takes on a device: forward, loss, backward, update.
//   bench_train [--device sim] [--model resnet18_w16] [--batch 32] [--size 128] [--classes 8] [--runs 9] [--threads 0]
//               [--json FILE]
// tools/reference/training_speed.py does the same in PyTorch.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "engine/train/trainer.h"
#include "kernels/simt/sim_runtime.h"
#include "tests/bench/measure.h"

using namespace retrace;

int main(int argc, char** argv) try {
  std::string device_name = "sim", model = "resnet18_w16", json_path;
  int batch = 32, size = 128, classes = 8, runs = 9, threads = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--device")
      device_name = value;
    else if (key == "--model")
      model = value;
    else if (key == "--batch")
      batch = std::stoi(value);
    else if (key == "--size")
      size = std::stoi(value);
    else if (key == "--classes")
      classes = std::stoi(value);
    else if (key == "--runs")
      runs = std::stoi(value);
    else if (key == "--threads")
      threads = std::stoi(value);
    else if (key == "--json")
      json_path = value;
    else
      throw UsageError(
          "option " + key +
          ": expected --device, --model, --batch, --size, --classes, --runs, --threads or --json");
  }
  simt::SimOptions sim = simt::sim_options();
  sim.threads = threads;
  simt::set_sim_options(sim);
  const auto device = Device::open(device_name);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> pixels(std::size_t(batch) * std::size_t(size) * std::size_t(size) * 3);
  for (float& p : pixels) p = normal(random);
  std::vector<float> shares(std::size_t(batch) * std::size_t(classes));
  for (int i = 0; i < batch; ++i) shares[std::size_t(i * classes + i % classes)] = 1;
  const Tensor x = Tensor::from_host(*device, {batch, size, size, 3}, pixels);
  const Tensor targets = Tensor::from_host(*device, {batch, classes}, shares);

  TrainOptions options;
  options.model = model;
  options.classes = classes;
  options.schedule = {.peak = 0.01, .last = 0.01, .warm_up = 0, .steps = 1000};
  Trainer trainer(*device, options, initial_parameters(model, classes, 1, false));
  const Times t = measure(*device, runs, [&] { trainer.step(x, targets); });
  fmt::print(
      "{} on {} ({}), batch {}, {} x {}, fp32, SGD: {:.1f} ms a step [{:.1f}, {:.1f}], median of {} [5 %, 95 "
      "%], "
      "{:.1f} pictures/s\n",
      model, device->info().id, device->info().name, batch, size, size, t.median, t.low, t.high, runs,
      1000 * batch / t.median);
  fmt::print("  peak memory {:.1f} MB\n", double(device->memory().peak) / 1e6);
  if (json_path.empty()) return 0;
  const nlohmann::json result = {{"device", device->info().id},
                                 {"name", device->info().name},
                                 {"model", model},
                                 {"batch", batch},
                                 {"size", size},
                                 {"precision", "fp32"},
                                 {"median_ms", t.median},
                                 {"p5_ms", t.low},
                                 {"p95_ms", t.high},
                                 {"peak_bytes", device->memory().peak}};
  std::ofstream file(json_path);
  file << result.dump(2) << '\n';
  file.close();
  if (!file) throw Error(json_path + ": cannot write the results there");
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "bench_train: {}\n", error.what());
  return 1;
}
