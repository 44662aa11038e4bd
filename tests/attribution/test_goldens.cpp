// Against other people's answers: PyTorch (logits, gradients), pytorch-grad-cam and Captum (Grad-CAM), Zennit (every
// composite), and an independent float64 LRP, on seeded networks (see tools/reference/README.md).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include "tests/attribution/golden.h"
#include "tests/common/test_device.h"

using namespace retrace;

namespace {

// How far fp32 may be. Values and gradients: rounding adds up along the network, some 1e-6; ten times that is allowed.
// Relevance: where a sum almost vanishes, the stabilized quotient behind it multiplies rounding, in anybody's fp32.
// The pictures were chosen to be well conditioned in that respect (tools/reference/README.md: PyTorch's own float32
// maps are at most 1e-5 off), so that one bound holds for every map: ten times that.
// Fifty layers add up more: PyTorch's own float32 logits are 1.4e-5 off there, and a few times that is allowed.
constexpr double near_value = 1e-5, near_map = 1e-4, near_deep = 5e-5;

}  // namespace

TEST_CASE("seeded networks agree with PyTorch, pytorch-grad-cam, Captum and Zennit") {
  Device& device = test_device();
  for (const std::string name :
       {"cifar_resnet20", "resnet18", "resnext50_32x4d_w16", "wide_resnet50_2_w16"}) {
    if (few_cases() && (name == "resnet18" || name.starts_with("wide"))) continue;
    const Golden golden(name);
    const auto model = golden.build(device);
    Tape tape(device);
    const NodeId logits = model->forward(tape, tape.input(golden.batch(device)));
    const int pictures = golden.pictures();

    check_maps(golden, tape.value(logits).to_host(), "logits",
               golden.model.find("50") != std::string::npos ? near_deep : near_value);
    for (NodeId id = 1; id <= logits; ++id) {
      const std::string& layer = tape.node(id).name;
      if (!golden.has("picture0.stats." + layer)) continue;
      const auto host = tape.value(id).to_host();
      for (int p = 0; p < pictures; ++p) {
        const auto mine = part(host, p, pictures);
        double sum = 0;
        for (const float v : mine) sum += v;
        const auto stats = golden.get("picture" + std::to_string(p) + ".stats." + layer);
        CHECK_MESSAGE(sum / double(mine.size()) == doctest::Approx(stats[0]).epsilon(1e-4), layer);
        CHECK_MESSAGE(*std::max_element(mine.begin(), mine.end()) == doctest::Approx(stats[3]).epsilon(1e-4),
                      layer);
      }
    }

    const auto top = targets_of(golden, "target"), other = targets_of(golden, "other_target");
    const auto run = [&](const std::string& method, const std::vector<int>& targets) {
      return attribute(*model, tape, logits, targets, parse_method(method));
    };
    check_maps(golden, run("input-gradient", top).values, "input_gradient", near_value);
    check_maps(golden, run("input-gradient", other).values, "input_gradient.other", near_value);
    const Attribution cam = run("grad-cam", top);
    check_maps(golden, cam.grid, "grad_cam", near_value);
    check_maps(golden, cam.values, "grad_cam.upsampled", near_value);

    const auto maps = lrp_goldens(golden);
    CHECK(maps.size() >= (few_cases() ? 4 : 11));
    for (const auto& [method, map] : maps) check_maps(golden, run(method, top).values, map, near_map);
  }
}

TEST_CASE("conservation and ledgers on the seeded networks") {
  Device& device = test_device();
  for (const std::string name : {"cifar_resnet20", "resnet18"}) {
    if (few_cases() && name == "resnet18") continue;
    const Golden golden(name);
    const auto model = golden.build(device);
    Tape tape(device);
    const NodeId logits = model->forward(tape, tape.input(golden.batch(device)));
    const auto top = targets_of(golden, "target");
    for (const std::string& composite : lrp_composites()) {
      for (const std::string options :
           {"bias=absorb,residual=split", "bias=absorb", "bias=ignore", "bias=spread"}) {
        if (composite.find("alpha2") != std::string::npos && options != "bias=absorb,residual=split")
          continue;
        const Attribution a =
            attribute(*model, tape, logits, top, parse_method("lrp:" + composite + "," + options));
        for (std::size_t i = 0; i < top.size(); ++i) {
          CAPTURE(name);
          CAPTURE(a.method);
          CHECK(std::abs(a.ledger->totals(i).unexplained) < 1e-4);
          const bool conserves = (composite == "gamma-flat" && options == "bias=spread") ||
                                 (composite == "epsilon-plus-flat" && options == "bias=ignore");
          if (conserves) CHECK(std::abs(a.sum[i] / a.start[i] - 1) <= 1e-4);
        }
      }
    }
  }
}

TEST_CASE("Grad-CAM at the last stage is the class's weight-projected activation") {
  // With global average pool and one linear layer behind it, the gradient there is w / (h · w) everywhere.
  Device& device = test_device();
  const Golden golden("cifar_resnet20");
  const auto model = golden.build(device);
  Tape tape(device);
  const NodeId logits = model->forward(tape, tape.input(golden.batch(device)));
  const auto top = targets_of(golden, "target");
  const Attribution cam = attribute(*model, tape, logits, top, parse_method("grad-cam"));
  const Tensor& a = tape.value(model->layer(tape, model->cam_layer()));
  const auto activations = a.to_host(), weights = tape.node(logits).map->weight().to_host();
  std::vector<double> want;
  const std::int64_t pixels = a.dim(1) * a.dim(2), channels = a.dim(3);
  for (std::int64_t i = 0; i < a.dim(0); ++i) {
    for (std::int64_t p = 0; p < pixels; ++p) {
      double sum = 0;
      for (std::int64_t c = 0; c < channels; ++c) {
        sum += double(activations[std::size_t((i * pixels + p) * channels + c)]) *
               weights[std::size_t(top[std::size_t(i)] * channels + c)];
      }
      want.push_back(std::max(0.0, sum / double(pixels)));
    }
  }
  CHECK(compare(cam.grid, want).relative_rms < 1e-6);
}

TEST_CASE("a trained ResNet-20, where its file is at hand") {
  const char* const folder = std::getenv("RETRACE_SHARED_DATA");
  if (!folder) {
    std::cout << "not run: RETRACE_SHARED_DATA does not name a folder with resnet20-12fca82f.th\n";
    return;
  }
  Device& device = test_device();
  const LoadedModel loaded =
      load_model(device, "", std::filesystem::path(folder) / "resnet20-12fca82f.th", 1);
  CHECK(loaded.model->info().name == "cifar_resnet20");
  CHECK(loaded.model->info().labels.size() == 10);
}
