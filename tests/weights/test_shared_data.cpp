// A checkpoint that someone else trained, where the folder of shared data is given in RETRACE_SHARED_DATA.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "build_files.h"
#include "weights/match.h"
#include "weights/safetensors.h"

namespace retrace::weights::test {
namespace {

// The CIFAR ResNet-20: three stages of three blocks, 16, 32 and 64 channels, shortcuts without parameters.
std::vector<TensorSpec> resnet20() {
  std::vector<TensorSpec> specs;
  const auto norm = [&](const std::string& name, std::int64_t channels) {
    for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
      specs.push_back({name + "." + part, {channels}});
    }
    specs.push_back({name + ".num_batches_tracked", {}});
  };
  specs.push_back({"conv1.weight", {16, 3, 3, 3}});
  norm("bn1", 16);
  std::int64_t before = 16;
  for (int stage = 1; stage <= 3; ++stage) {
    const std::int64_t channels = std::int64_t(8) << stage;
    for (int block = 0; block < 3; ++block) {
      const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(block) + ".";
      specs.push_back({name + "conv1.weight", {channels, before, 3, 3}});
      norm(name + "bn1", channels);
      specs.push_back({name + "conv2.weight", {channels, channels, 3, 3}});
      norm(name + "bn2", channels);
      before = channels;
    }
  }
  specs.push_back({"linear.weight", {10, 64}});
  specs.push_back({"linear.bias", {10}});
  return specs;
}

}  // namespace

TEST_CASE("a trained ResNet-20 from elsewhere reads and matches") {
  const char* folder = std::getenv("RETRACE_SHARED_DATA");
  if (folder == nullptr) {
    MESSAGE("skipped: RETRACE_SHARED_DATA is not set to a folder with resnet20-12fca82f.th");
    return;
  }
  const Checkpoint checkpoint = read_checkpoint(std::filesystem::path(folder) / "resnet20-12fca82f.th");
  CHECK(checkpoint.format == "pytorch legacy");
  CHECK(checkpoint.metadata.at("best_prec1").starts_with("91.7"));
  REQUIRE(checkpoint.notes.size() == 2);
  CHECK(contains(checkpoint.notes[1], "prefix 'module.' removed"));
  const std::vector<TensorSpec> specs = resnet20();
  const std::vector<HostTensor> tensors = match_tensors(checkpoint, specs);
  REQUIRE(tensors.size() == specs.size());
  bool finite = true;
  double sum = 0;
  for (const HostTensor& tensor : tensors) {
    if (tensor.dtype != DType::f32) continue;
    for (const float value : tensor.to_f32()) {
      finite = finite && std::isfinite(value);
      sum += std::abs(value);
    }
  }
  CHECK(finite);
  CHECK(sum > 0);

  const TemporaryFolder out;
  write_safetensors(out / "resnet20.safetensors", tensors);
  const Checkpoint copy = read_checkpoint(out / "resnet20.safetensors");
  for (const HostTensor& tensor : tensors) {
    CHECK(raw(copy, tensor.name, tensor.dtype, tensor.shape) ==
          std::string(reinterpret_cast<const char*>(tensor.data.get()), tensor.byte_size()));
  }
}

}  // namespace retrace::weights::test
