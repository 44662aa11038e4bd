// Times every distinct convolution of a network, fprop, dgrad and wgrad, per variant (all: direct, and the one that
// `auto` takes there).
//
//   bench_conv [--device auto|cuda|cuda:N|sim] [--variant direct|tiled|depthwise|all]
//              [--network resnet18|narrow|mobilenet_v2] [--batch N] [--runs N] [--json FILE]
//
// resnet18 is ResNet-18 at 224 × 224; narrow is the same with 16 … 128 channels at 128 × 128, a size that the
// simulator can train; mobilenet_v2 has the depthwise convolutions of MobileNetV2 at 224 × 224 and, as 1 × 1 ones, batch
// norms of DenseNet-121.
//
// A run repeats one launch until about 2 ms have passed and waits for the device once, so that the wait
// weighs little; the time of a launch is the median over the runs, after one that is not counted. Operands
// stay where they are between launches ("warm": they may sit in a cache). Data are random. Before anything is
// timed, each variant's result is compared with that of `direct`. On a GPU a comparison with cuDNN follows
// (cudnn_baseline.h).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string_view>

#include "engine/tensor.h"
#include "tests/bench/cudnn_baseline.h"

namespace retrace {
namespace {

using kernels::Conv2dShape;
using kernels::ConvVariant;

struct Layer {
  const char* name;
  int count;  // how often the network has it
  Conv2dShape shape;
};

constexpr Layer layers[] = {
    {"stem 7x7/2", 1, {1, 224, 224, 3, 64, 7, 7, 2, 2, 3, 3}},
    {"layer1 3x3", 4, {1, 56, 56, 64, 64, 3, 3, 1, 1, 1, 1}},
    {"layer2 3x3/2", 1, {1, 56, 56, 64, 128, 3, 3, 2, 2, 1, 1}},
    {"layer2 1x1/2", 1, {1, 56, 56, 64, 128, 1, 1, 2, 2}},
    {"layer2 3x3", 3, {1, 28, 28, 128, 128, 3, 3, 1, 1, 1, 1}},
    {"layer3 3x3/2", 1, {1, 28, 28, 128, 256, 3, 3, 2, 2, 1, 1}},
    {"layer3 1x1/2", 1, {1, 28, 28, 128, 256, 1, 1, 2, 2}},
    {"layer3 3x3", 3, {1, 14, 14, 256, 256, 3, 3, 1, 1, 1, 1}},
    {"layer4 3x3/2", 1, {1, 14, 14, 256, 512, 3, 3, 2, 2, 1, 1}},
    {"layer4 1x1/2", 1, {1, 14, 14, 256, 512, 1, 1, 2, 2}},
    {"layer4 3x3", 3, {1, 7, 7, 512, 512, 3, 3, 1, 1, 1, 1}},
};

constexpr Layer narrow_layers[] = {
    {"stem 7x7/2", 1, {1, 128, 128, 3, 16, 7, 7, 2, 2, 3, 3}},
    {"layer1 3x3", 4, {1, 32, 32, 16, 16, 3, 3, 1, 1, 1, 1}},
    {"layer2 3x3/2", 1, {1, 32, 32, 16, 32, 3, 3, 2, 2, 1, 1}},
    {"layer2 1x1/2", 1, {1, 32, 32, 16, 32, 1, 1, 2, 2}},
    {"layer2 3x3", 3, {1, 16, 16, 32, 32, 3, 3, 1, 1, 1, 1}},
    {"layer3 3x3/2", 1, {1, 16, 16, 32, 64, 3, 3, 2, 2, 1, 1}},
    {"layer3 1x1/2", 1, {1, 16, 16, 32, 64, 1, 1, 2, 2}},
    {"layer3 3x3", 3, {1, 8, 8, 64, 64, 3, 3, 1, 1, 1, 1}},
    {"layer4 3x3/2", 1, {1, 8, 8, 64, 128, 3, 3, 2, 2, 1, 1}},
    {"layer4 1x1/2", 1, {1, 8, 8, 64, 128, 1, 1, 2, 2}},
    {"layer4 3x3", 3, {1, 4, 4, 128, 128, 3, 3, 1, 1, 1, 1}},
};

// A filter per channel: n h w c, window, stride.
constexpr Conv2dShape depthwise(int size, int c, int window, int stride) {
  return {1, size, size, c, c, window, window, stride, stride, window / 2, window / 2, 1, 1, c};
}
constexpr Layer mobilenet_layers[] = {
    {"32 3x3", 1, depthwise(112, 32, 3, 1)},       {"96 3x3/2", 1, depthwise(112, 96, 3, 2)},
    {"144 3x3", 1, depthwise(56, 144, 3, 1)},      {"144 3x3/2", 1, depthwise(56, 144, 3, 2)},
    {"192 3x3", 2, depthwise(28, 192, 3, 1)},      {"192 3x3/2", 1, depthwise(28, 192, 3, 2)},
    {"384 3x3", 4, depthwise(14, 384, 3, 1)},      {"576 3x3", 2, depthwise(14, 576, 3, 1)},
    {"576 3x3/2", 1, depthwise(14, 576, 3, 2)},    {"960 3x3", 3, depthwise(7, 960, 3, 1)},
    {"norm 256, 56", 1, depthwise(56, 256, 1, 1)}, {"norm 1024, 14", 1, depthwise(14, 1024, 1, 1)},
};

struct Options {
  std::string device = "auto", network = "resnet18", json;
  std::vector<ConvVariant> variants;  // none: direct, and the network's own
  int batch = 1, runs = 7;
};

int parse_count(std::string_view option, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) {
    throw UsageError(fmt::format("{} '{}': expected a number of at least 1", option, text));
  }
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string option = argv[i];
    if (i + 1 == argc) throw UsageError(option + ": expected a value after it");
    const std::string value = argv[i + 1];
    if (option == "--device") {
      options.device = value;
    } else if (option == "--variant") {
      options.variants.clear();
      if (value != "all") options.variants = {kernels::parse_conv_variant(value)};
    } else if (option == "--network") {
      if (value != "resnet18" && value != "narrow" && value != "mobilenet_v2") {
        throw UsageError(fmt::format("{} '{}': expected resnet18, narrow or mobilenet_v2", option, value));
      }
      options.network = value;
    } else if (option == "--batch") {
      options.batch = parse_count(option, value);
    } else if (option == "--runs") {
      options.runs = parse_count(option, value);
    } else if (option == "--json") {
      options.json = value;
    } else {
      throw UsageError("option '" + option +
                       "': expected --device, --variant, --network, --batch, --runs or --json");
    }
  }
  if (options.variants.empty()) {
    options.variants = {ConvVariant::direct,
                        options.network == "mobilenet_v2" ? ConvVariant::depthwise : ConvVariant::tiled};
  }
  return options;
}

Tensor random_tensor(Device& device, long long count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = float(int(random() >> 8) - (1 << 23)) / float(1 << 23);
  return Tensor::from_host(device, {count}, values);
}

// Seconds per launch: the median over the runs.
double median_time(Device& device, int runs, const std::function<void()>& launch) {
  using Clock = std::chrono::steady_clock;
  const auto time = [&](int launches) {
    device.synchronize();
    const auto start = Clock::now();
    for (int i = 0; i < launches; ++i) launch();
    device.synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count() / launches;
  };
  time(1);  // the first one also loads the kernel
  const int launches = int(std::clamp(2e-3 / time(1), 1.0, 1000.0));
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(time(launches));
  std::sort(times.begin(), times.end());
  const std::size_t middle = times.size() / 2;
  return times.size() % 2 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
}

// Both are fp32 sums of the same products in another order; √(7·7·512) · 2⁻²⁴ is 1e-5. The weight gradient's are
// longer, up to 112 · 112 pixels of every image, and direct adds them one after the other.
void check_equal(const std::vector<float>& got, const std::vector<float>& want, const std::string& what,
                 double tolerance = 1e-5) {
  double error = 0, square = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double(got[i]) - double(want[i]), 2);
    square += std::pow(double(want[i]), 2);
  }
  const double relative = std::sqrt(error / square);
  if (!(relative <= tolerance)) {
    throw Error(fmt::format("{}: differs from direct by {:.2g} (relative RMS), expected at most {:.2g}", what,
                            relative, tolerance));
  }
}

struct Directions {
  double fprop = 0, dgrad = 0, wgrad = 0;  // seconds
};

Directions measure(Device& device, const Conv2dShape& shape, ConvVariant variant, int runs,
                   const std::string& what) {
  const Tensor x = random_tensor(device, shape.input_size(), 1),
               w = random_tensor(device, shape.weight_size(), 2);
  const Tensor dy = random_tensor(device, shape.output_size(), 3);
  const Tensor y(device, dy.shape()), dx(device, x.shape()), dw(device, w.shape());
  const Tensor workspace(device, {std::max(1LL, kernels::conv2d_wgrad_workspace(shape, variant))});
  const auto fprop = [&](ConvVariant v) {
    device.kernels().conv2d_fprop({.shape = shape, .variant = v, .x = x.data(), .w = w.data(), .y = y.data()},
                                  device.stream());
  };
  const auto dgrad = [&](ConvVariant v) {
    kernels::Conv2dDgrad a{.shape = shape,
                           .variant = v,
                           .dy = {.signal = dy.data()},
                           .w = w.data(),
                           .epilogue = {},
                           .dx = dx.data()};
    device.kernels().conv2d_dgrad(a, device.stream());
  };
  const auto wgrad = [&](ConvVariant v) {
    device.kernels().conv2d_wgrad({.shape = shape,
                                   .variant = v,
                                   .x = x.data(),
                                   .dy = dy.data(),
                                   .dw = dw.data(),
                                   .workspace = workspace.data()},
                                  device.stream());
  };
  if (variant != ConvVariant::direct) {
    fprop(ConvVariant::direct);
    dgrad(ConvVariant::direct);
    wgrad(ConvVariant::direct);
    const std::vector<float> want_y = y.to_host(), want_dx = dx.to_host(), want_dw = dw.to_host();
    fprop(variant);
    dgrad(variant);
    wgrad(variant);
    check_equal(y.to_host(), want_y, what + ", fprop");
    check_equal(dx.to_host(), want_dx, what + ", dgrad");
    check_equal(dw.to_host(), want_dw, what + ", wgrad",
                std::ldexp(std::sqrt(double(shape.output_size() / shape.k)), -24));
  }
  return {median_time(device, runs, [&] { fprop(variant); }),
          median_time(device, runs, [&] { dgrad(variant); }),
          median_time(device, runs, [&] { wgrad(variant); })};
}

void run(const Options& options) {
  const std::unique_ptr<Device> device = Device::open(options.device);
  fmt::print("{}: {}; {}, batch {}, float32, warm, median of {} runs\n", device->info().id,
             device->info().name, options.network, options.batch, options.runs);
  fmt::print("{:14} {:>2} {:8} {:>8} {:>11} {:>8} {:>11} {:>8} {:>11} {:>8}\n", "layer", "x", "variant",
             "MMAC", "fprop ms", "GMAC/s", "dgrad ms", "GMAC/s", "wgrad ms", "GMAC/s");
  nlohmann::json rows = nlohmann::json::array();
  const auto report = [&](const char* layer, int count, ConvVariant variant, double macs,
                          const Directions& t) {
    fmt::print("{:14} {:2} {:8} {:8.1f} {:11.4f} {:8.1f} {:11.4f} {:8.1f} {:11.4f} {:8.1f}\n", layer, count,
               kernels::conv_variant_name(variant), macs / 1e6, t.fprop * 1e3, macs / t.fprop / 1e9,
               t.dgrad * 1e3, macs / t.dgrad / 1e9, t.wgrad * 1e3, macs / t.wgrad / 1e9);
    std::fflush(stdout);
    rows.push_back({{"layer", layer},
                    {"count", count},
                    {"variant", kernels::conv_variant_name(variant)},
                    {"macs", macs},
                    {"fprop_ms", t.fprop * 1e3},
                    {"dgrad_ms", t.dgrad * 1e3},
                    {"wgrad_ms", t.wgrad * 1e3},
                    {"fprop_gmacs", macs / t.fprop / 1e9},
                    {"dgrad_gmacs", macs / t.dgrad / 1e9},
                    {"wgrad_gmacs", macs / t.wgrad / 1e9}});
  };
  const std::span<const Layer> network = options.network == "narrow" ? std::span<const Layer>(narrow_layers)
                                         : options.network == "mobilenet_v2"
                                             ? std::span<const Layer>(mobilenet_layers)
                                             : std::span<const Layer>(layers);
  for (ConvVariant variant : options.variants) {
    Directions total;
    double total_macs = 0;
    int convolutions = 0;
    for (const Layer& layer : network) {
      Conv2dShape shape = layer.shape;
      shape.n = options.batch;
      const std::string what = fmt::format("{} ({})", layer.name, kernels::conv_variant_name(variant));
      const Directions t = measure(*device, shape, variant, options.runs, what);
      report(layer.name, layer.count, variant, double(shape.macs()), t);
      total.fprop += t.fprop * layer.count;
      total.dgrad += t.dgrad * layer.count;
      total.wgrad += t.wgrad * layer.count;
      total_macs += double(shape.macs()) * layer.count;
      convolutions += layer.count;
    }
    report("all of them", convolutions, variant, total_macs, total);
  }
  std::vector<bench::ConvCase> cases;
  for (const Layer& layer : network) {
    cases.push_back({layer.name, layer.count, layer.shape});
    cases.back().shape.n = options.batch;
  }
  const nlohmann::json cudnn = bench::compare_with_cudnn(*device, cases, options.runs);
  if (options.json.empty()) return;
  const nlohmann::json result = {{"device", device->info().id},
                                 {"name", device->info().name},
                                 {"detail", device->info().detail},
                                 {"network", options.network},
                                 {"batch", options.batch},
                                 {"runs", options.runs},
                                 {"precision", "fp32"},
                                 {"cache", "warm"},
                                 {"rows", rows},
                                 {"cudnn", cudnn}};
  std::ofstream file(options.json);
  file << result.dump(2) << '\n';
  file.close();
  if (!file) throw Error(options.json + ": cannot write the results there");
}

}  // namespace
}  // namespace retrace

int main(int argc, char** argv) {
  try {
    retrace::run(retrace::parse(argc, argv));
    return 0;
  } catch (const retrace::UsageError& error) {
    fmt::print(stderr, "bench_conv: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_conv: {}\n", error.what());
    return 1;
  }
}
