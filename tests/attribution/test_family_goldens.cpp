// The families beside the ResNets against PyTorch, Captum, pytorch-grad-cam, Zennit and an independent float64 LRP.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/attribution/golden.h"
#include "tests/common/test_device.h"

using namespace retrace;

namespace {

// As for the ResNets: ten times what rounding adds up to in values and gradients, ten times what PyTorch's own float32 does
// to a map. That is at most 1e-5 there, where pictures could be chosen for it; here it differs from map to map, and each
// golden says by how much (`float32_rms`).
constexpr double near_value = 1e-5, near_map = 1e-4, times_float32 = 10;

double allowed(const Golden& golden, const std::string& name, double least) {
  const std::string noise = "picture0." + name + ".float32_rms";
  return golden.has(noise) ? std::max(least, times_float32 * golden.get(noise)[0]) : least;
}

void check_family(const std::string& name) {
  Device& device = test_device();
  const Golden golden(name);
  const auto model = golden.build(device);
  Tape tape(device);
  const NodeId logits = model->forward(tape, tape.input(golden.batch(device)));
  check_maps(golden, tape.value(logits).to_host(), "logits", allowed(golden, "logits", near_value));

  int layers = 0;
  for (NodeId id = 1; id <= logits; ++id) {
    const std::string stats = "picture0.stats." + tape.node(id).name;
    if (!golden.has(stats)) continue;
    ++layers;
    const auto mine = tape.value(id).to_host();
    double sum = 0, size = 0;
    for (const float v : mine) sum += v, size += std::abs(v);
    const auto want = golden.get(stats);
    CHECK_MESSAGE(std::abs(sum - want[0] * double(mine.size())) < 1e-4 * size, tape.node(id).name);
    CHECK_MESSAGE(*std::max_element(mine.begin(), mine.end()) == doctest::Approx(want[3]).epsilon(1e-4),
                  tape.node(id).name);
  }
  CHECK(layers >= 5);

  const auto top = targets_of(golden, "target");
  const auto run = [&](const std::string& method) {
    return attribute(*model, tape, logits, top, parse_method(method));
  };
  check_maps(golden, run("input-gradient").values, "input_gradient",
             allowed(golden, "input_gradient", near_value));
  const Attribution cam = run("grad-cam");
  check_maps(golden, cam.grid, "grad_cam", allowed(golden, "grad_cam", near_value));
  check_maps(golden, cam.values, "grad_cam.upsampled", allowed(golden, "grad_cam", near_value));

  const auto maps = lrp_goldens(golden);
  CHECK(maps.size() >= (few_cases() ? 2 : 4));
  for (const auto& [method, map] : maps) {
    const Attribution a = run(method);
    check_maps(golden, a.values, map, allowed(golden, map, near_map));
    CHECK_MESSAGE(std::abs(a.ledger->totals(0).unexplained) < 1e-4, map);
  }
}

}  // namespace

TEST_CASE("VGG agrees") {
  check_family("vgg11_w8");
}
TEST_CASE("VGG with batch norm agrees") {
  check_family("vgg11_bn_w8");
}
TEST_CASE("AlexNet agrees") {
  check_family("alexnet_w16");
}
TEST_CASE("SqueezeNet agrees") {
  check_family("squeezenet1_1_w16");
}
TEST_CASE("MobileNetV2 agrees") {
  check_family("mobilenet_v2_w16");
}
TEST_CASE("DenseNet agrees") {
  check_family("densenet121_w16");
}
