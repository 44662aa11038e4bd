// Prints how long a network and its explanations take on a device, and the most memory that was held. Of an
// explanation: the walk alone, its map still on the device, and the whole call, which ends with the map on the host.
//   bench_explain [--device sim] [--model resnet18] [--batch 1] [--size 224] [--runs 5] [--json FILE]
#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "attribution/attribute.h"
#include "engine/models/load.h"
#include "tests/bench/measure.h"

using namespace retrace;

int main(int argc, char** argv) try {
  std::string device_name = "sim", model_name = "resnet18", json_path;
  int batch = 1, size = 224, runs = 5;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--device")
      device_name = value;
    else if (key == "--model")
      model_name = value;
    else if (key == "--batch")
      batch = std::stoi(value);
    else if (key == "--size")
      size = std::stoi(value);
    else if (key == "--runs")
      runs = std::stoi(value);
    else if (key == "--json")
      json_path = value;
    else
      throw UsageError("option " + key + ": expected --device, --model, --batch, --size, --runs or --json");
  }
  const auto device = Device::open(device_name);
  const LoadedModel loaded = load_model(*device, model_name, std::filesystem::path{}, 1);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> pixels(std::size_t(batch) * std::size_t(size) * std::size_t(size) * 3);
  for (float& p : pixels) p = normal(random);
  const Tensor x = Tensor::from_host(*device, {batch, size, size, 3}, pixels);

  fmt::print("{} on {} ({}), batch {}, {} x {}, fp32, median of {} [5 %, 95 %]\n", model_name,
             device->info().id, device->info().name, batch, size, size, runs);
  device->reset_peak();
  nlohmann::json rows = nlohmann::json::array();
  const auto print = [&](const std::string& what, const Times& t) {
    rows.push_back({{"what", what}, {"median_ms", t.median}, {"p5_ms", t.low}, {"p95_ms", t.high}});
    fmt::print("  {:<28} {:9.2f} ms [{:.2f}, {:.2f}]   {:.1f} pictures/s\n", what, t.median, t.low, t.high,
               1000 * batch / t.median);
  };
  print("forward", measure(*device, runs, [&] {
          Tape tape(*device);
          loaded.model->forward(tape, tape.input(x));
        }));
  Tape tape(*device);
  const NodeId logits = loaded.model->forward(tape, tape.input(x));
  const std::vector<int> targets(std::size_t(batch), 0);
  for (const char* text : {"input-gradient", "grad-cam", "lrp", "lrp:epsilon-plus-flat,bias=ignore"}) {
    const Method method = parse_method(text);
    std::vector<double> walks;
    const Times whole = measure(*device, runs, [&] {
      walks.push_back(attribute(*loaded.model, tape, logits, targets, method).milliseconds);
    });
    walks.erase(walks.begin());  // measure() warms up once
    print(text, times_of(walks));
    print("  with its map on the host", whole);
  }
  print("forward + three explanations", measure(*device, runs, [&] {
          Tape fresh(*device);
          const NodeId out = loaded.model->forward(fresh, fresh.input(x));
          for (const char* text : {"input-gradient", "grad-cam", "lrp"}) {
            attribute(*loaded.model, fresh, out, targets, parse_method(text));
          }
        }));
  fmt::print("  peak device memory           {:9.1f} MB\n", double(device->memory().peak) / 1e6);
  if (json_path.empty()) return 0;
  const nlohmann::json result = {{"device", device->info().id},
                                 {"name", device->info().name},
                                 {"model", model_name},
                                 {"batch", batch},
                                 {"size", size},
                                 {"runs", runs},
                                 {"precision", "fp32"},
                                 {"rows", rows},
                                 {"peak_bytes", device->memory().peak}};
  std::ofstream file(json_path);
  file << result.dump(2) << '\n';
  file.close();
  if (!file) throw Error(json_path + ": cannot write the results there");
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "bench_explain: {}\n", error.what());
  return 1;
}
