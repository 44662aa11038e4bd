// Golden files of explanations (tools/reference/README.md): the seeded network, its pictures, and other people's answers.
#pragma once
#include <doctest/doctest.h>

#include <iostream>
#include <string>
#include <vector>

#include "attribution/attribute.h"
#include "engine/models/load.h"
#include "tests/common/compare.h"
#include "tests/common/few_cases.h"
#include "weights/safetensors.h"

namespace retrace {

struct Golden {
  weights::Checkpoint file;
  std::string model;

  explicit Golden(const std::string& name)
      : file(weights::read_checkpoint(std::string(RETRACE_GOLDENS) + "/" + name + ".safetensors")),
        model(name) {}

  std::vector<float> get(const std::string& name) const {
    const auto* t = file.find(name);
    REQUIRE_MESSAGE(t, name);
    return t->to_f32();
  }
  bool has(const std::string& name) const { return file.find(name); }
  int pictures() const { return std::stoi(file.metadata.at("pictures")); }

  std::unique_ptr<Model> build(Device& device) const {
    auto values = seeded_parameters(model, 0, std::stoull(file.metadata.at("seed")));
    const auto specs = model_parameters(model);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].name.find("running_") != std::string::npos) values[i].values = get("bn." + specs[i].name);
    }
    return build_model(device, model, 0, fold_model(model, 0, values));
  }

  // All pictures as one normalised batch.
  Tensor batch(Device& device) const {
    std::vector<std::uint8_t> pixels;
    const auto& shape = file.find("picture0.pixels")->shape;
    for (int p = 0; p < pictures(); ++p) {
      for (const float v : get("picture" + std::to_string(p) + ".pixels")) pixels.push_back(std::uint8_t(v));
    }
    const int h = int(shape[0]), w = int(shape[1]);
    const Tensor bytes = Tensor::from_host(device, {pictures(), h, w, 3}, pixels);
    Tensor x(device, {pictures(), h, w, 3});
    device.kernels().normalize_u8({.n = pictures(),
                                   .h = h,
                                   .w = w,
                                   .c = 3,
                                   .pixels = bytes.data<std::uint8_t>(),
                                   .mean = {0.485f, 0.456f, 0.406f},
                                   .std = {0.229f, 0.224f, 0.225f},
                                   .y = x.data()},
                                  device.stream());
    return x;
  }
};

// Whether a map is left out where every access costs much: those that stay reach every rule.
inline bool left_out(const std::string& map) {
  return few_cases() && map != "zennit.epsilon-gamma-box" && map != "zennit.epsilon-alpha2-beta1-flat" &&
         map != "lrp.gamma-flat" && map != "lrp.epsilon-plus-flat.ignore-joint";
}

inline std::vector<float> part(const std::vector<float>& all, int index, int of) {
  const std::size_t each = all.size() / std::size_t(of);
  return {all.begin() + std::ptrdiff_t(each) * index, all.begin() + std::ptrdiff_t(each) * (index + 1)};
}

inline std::vector<int> targets_of(const Golden& golden, const std::string& which) {
  std::vector<int> targets;
  for (int p = 0; p < golden.pictures(); ++p) {
    targets.push_back(int(golden.get("picture" + std::to_string(p) + "." + which)[0]));
  }
  return targets;
}

inline void check_maps(const Golden& golden, const std::vector<float>& values, const std::string& name,
                       double tolerance) {
  for (int p = 0; p < golden.pictures(); ++p) {
    const std::string full = "picture" + std::to_string(p) + "." + name;
    const Comparison c = compare(part(values, p, golden.pictures()), golden.get(full));
    // The worst pixel is stated whether it passes or not.
    std::cout << golden.model << " " << full << ": " << c.message() << "\n";
    CHECK_MESSAGE(c.relative_rms <= tolerance, full << ": " << c.message() << "; allowed " << tolerance);
  }
}

}  // namespace retrace
