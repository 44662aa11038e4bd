// The tape and the gradient: against float64, by finite differences, and the walk's own promises.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/walk.h"
#include "kernels/simt/sim_runtime.h"
#include "tests/common/compare.h"
#include "tests/common/small_nets.h"
#include "tests/common/test_device.h"
#include "tests/reference/tape.h"

using namespace retrace;

namespace {

Tensor seed(Device& device, const Tensor& logits, int target) {
  std::vector<float> host(std::size_t(logits.size()));
  for (std::int64_t i = 0; i < logits.dim(0); ++i)
    host[std::size_t(i * logits.dim(1) + (target + i) % logits.dim(1))] = 1;
  return Tensor::from_host(device, logits.shape(), host);
}

reference::Values doubles(const Tensor& t) {
  const auto host = t.to_host();
  return {host.begin(), host.end()};
}

// fp32 sums of some hundred products through eight layers: rounding of 6e-8 a step, some ten steps deep.
constexpr double rms_tolerance = 2e-6;

}  // namespace

TEST_CASE("forward pass and gradient agree with float64, at every node") {
  Device& device = test_device();
  for (const SmallNet kind : small_nets) {
    CAPTURE(int(kind));
    SmallNets nets(device, 7);
    const Tensor x = nets.values({3, 13, 11, 3});
    Tape tape(device);
    const NodeId logits = nets.net(kind, tape, x);
    const reference::TapeReference reference(tape);
    for (NodeId id = 0; id <= logits; ++id) {
      const auto c = compare(tape.value(id).to_host(), reference.value(id));
      CHECK_MESSAGE(c.relative_rms < rms_tolerance, tape.node(id).name << ": " << c.message());
    }
    const Tensor start = seed(device, tape.value(logits), 1);
    std::vector<NodeId> all;
    for (NodeId id = 0; id <= logits; ++id) all.push_back(id);
    GradientRule rule;
    const auto signals = Walk(tape, rule, logits, all).run(start);
    const auto want = reference.gradient(logits, doubles(start));
    for (const NodeId id : all) {
      const auto c = compare(signals.at(id).to_host(), want[std::size_t(id)]);
      CHECK_MESSAGE(c.relative_rms < rms_tolerance, tape.node(id).name << ": " << c.message());
    }
    // Gates fused into the launches give the same as gates on their own.
    const auto fused = Walk(tape, rule, logits, {0}).run(start);
    CHECK(compare(fused.at(0).to_host(), want[0]).relative_rms < rms_tolerance);
  }
}

TEST_CASE("gradient equals central differences of the whole network") {
  Device& device = test_device();
  for (const SmallNet kind : small_nets) {
    CAPTURE(int(kind));
    SmallNets make(device, 11);
    const Tensor x = make.values({1, 9, 10, 3});
    const auto logit = [&](const std::vector<float>& pixels) {
      SmallNets again(device, 12);
      Tape tape(device);
      const Tensor input = Tensor::from_host(device, x.shape(), pixels);
      const NodeId out = again.net(kind, tape, input);
      const reference::TapeReference exact(tape);  // float64: fp32 differences would drown in rounding
      return exact.value(out)[2];
    };
    SmallNets again(device, 12);
    Tape tape(device);
    const NodeId out = again.net(kind, tape, x);
    std::vector<float> one(std::size_t(tape.value(out).size()));
    one[2] = 1;
    GradientRule rule;
    const auto gradient = Walk(tape, rule, out, {0})
                              .run(Tensor::from_host(device, tape.value(out).shape(), one))
                              .at(0)
                              .to_host();
    const std::vector<float> base = x.to_host();
    double largest = 0;
    for (const float g : gradient) largest = std::max(largest, double(std::abs(g)));
    int off = 0;
    for (std::size_t i = 0; i < base.size(); i += 7) {
      std::vector<float> up = base, down = base;
      up[i] += 1.0f / 4096;
      down[i] -= 1.0f / 4096;
      const double slope = (logit(up) - logit(down)) / (double(up[i]) - double(down[i]));
      // Piecewise linear: exact unless a ReLU or a max-pool switches within the step, which a few do.
      if (std::abs(slope - gradient[i]) > 1e-4 * largest) ++off;
    }
    CHECK(off <= int(base.size() / 7 / 20));
  }
}

TEST_CASE("a batch is its singles, runs repeat, thread orders agree: bitwise") {
  Device& device = test_device();
  SmallNets data(device, 3);
  const Tensor x = data.values({4, 12, 12, 3});
  const std::vector<float> pixels = x.to_host();
  struct Result {
    std::vector<float> logits, gradient;
  };
  const auto run = [&](const Tensor& input, int first) {
    SmallNets nets(device, 4);
    Tape tape(device);
    const NodeId out = nets.residual_net(tape, input);
    std::vector<float> host(std::size_t(tape.value(out).size()));
    for (std::int64_t i = 0; i < input.dim(0); ++i) host[std::size_t(i * 5 + (first + i) % 5)] = 1;
    GradientRule rule;
    const Tensor start = Tensor::from_host(device, tape.value(out).shape(), host);
    return Result{tape.value(out).to_host(), Walk(tape, rule, out, {0}).run(start).at(0).to_host()};
  };
  const Result batch = run(x, 0);
  for (int i = 0; i < 4; ++i) {
    const std::size_t each = pixels.size() / 4;
    const Tensor single =
        Tensor::from_host(device, {1, 12, 12, 3},
                          std::vector<float>(pixels.begin() + i * each, pixels.begin() + (i + 1) * each));
    const Result one = run(single, i);
    CHECK(one.logits == std::vector<float>(batch.logits.begin() + i * 5, batch.logits.begin() + (i + 1) * 5));
    CHECK(one.gradient ==
          std::vector<float>(batch.gradient.begin() + i * each, batch.gradient.begin() + (i + 1) * each));
  }
  const Result again = run(x, 0);
  CHECK(again.logits == batch.logits);
  CHECK(again.gradient == batch.gradient);
  if (device.kind() == DeviceKind::sim) {
    for (const auto order : {simt::ThreadOrder::reverse, simt::ThreadOrder::random}) {
      simt::SimOptions options = simt::sim_options();
      const simt::SimOptions before = options;
      options.order = order;
      simt::set_sim_options(options);
      const Result other = run(x, 0);
      simt::set_sim_options(before);
      CHECK(other.logits == batch.logits);
      CHECK(other.gradient == batch.gradient);
    }
  }
}

TEST_CASE("walks leave the tape as it is, and several share it") {
  Device& device = test_device();
  SmallNets nets(device, 5);
  Tape tape(device);
  const NodeId out = nets.residual_net(tape, nets.values({2, 12, 12, 3}));
  GradientRule rule;
  const auto gradient = [&](int target) {
    return Walk(tape, rule, out, {0}).run(seed(device, tape.value(out), target)).at(0).to_host();
  };
  const auto first = gradient(0), second = gradient(1);
  CHECK(first != second);
  CHECK(gradient(0) == first);
  // Linear in the seed: the sum of two walks is the walk from both.
  std::vector<float> both = seed(device, tape.value(out), 0).to_host();
  const std::vector<float> other = seed(device, tape.value(out), 1).to_host();
  for (std::size_t i = 0; i < both.size(); ++i) both[i] += other[i];
  const auto sum =
      Walk(tape, rule, out, {0}).run(Tensor::from_host(device, tape.value(out).shape(), both)).at(0);
  std::vector<double> want(first.size());
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = double(first[i]) + second[i];
  CHECK(compare(sum.to_host(), want).relative_rms < rms_tolerance);
}

TEST_CASE("a layer nothing reaches gets zeros, and wrong shapes and layers are refused") {
  Device& device = test_device();
  SmallNets nets(device, 6);
  Tape tape(device);
  const NodeId out = nets.residual_net(tape, nets.values({1, 12, 12, 3}));
  GradientRule rule;
  const NodeId aside = tape.global_avg_pool(tape.find("one"), "aside");
  const auto signals =
      Walk(tape, rule, aside, {out - 1, tape.find("one")})
          .run(Tensor::from_host(device, tape.value(aside).shape(), std::vector<float>(8, 1)));
  for (const float v : signals.at(out - 1).to_host()) CHECK(v == 0);
  for (const float v : signals.at(tape.find("one")).to_host()) CHECK(v > 0);
  CHECK_THROWS_WITH_AS(Walk(tape, rule, out, {0}).run(Tensor(device, {1, 4})), doctest::Contains("[1, 5]"),
                       Error);
  CHECK_THROWS_AS(Walk(tape, rule, 1, {out}), Error);
  CHECK_THROWS_WITH_AS(tape.conv2d(0, nets.conv("bad", 4, 3, 5), {}, {}, "bad"),
                       doctest::Contains("layer bad"), Error);
}

TEST_CASE("memory: what a pass held is given back, and a limit is a clear error that loses nothing") {
  Device& device = test_device();
  SmallNets nets(device, 8);
  const Tensor x = nets.values({2, 12, 12, 3});
  const std::size_t before = device.memory().held;
  {
    Tape tape(device);
    nets.residual_net(tape, x);
    CHECK(device.memory().held > before);
  }
  CHECK(device.memory().held == before);
  device.limit_memory(before + 10000);
  {
    Tape tape(device);
    CHECK_THROWS_WITH_AS(nets.residual_net(tape, x), doctest::Contains("no memory for"), OutOfMemory);
  }
  device.limit_memory(0);
  CHECK(device.memory().held == before);
  Tape tape(device);
  CHECK_NOTHROW(nets.residual_net(tape, x));
}
