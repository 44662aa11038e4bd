// Training: gradients by central differences through a whole network, steps that lower the loss, runs that go on bit
// for bit, losses that are not finite, and the parts it is made of.
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "engine/train/trainer.h"
#include "kernels/simt/sim_runtime.h"
#include "tests/common/compare.h"
#include "tests/common/test_device.h"

using namespace retrace;

namespace {

constexpr int batch = 4, side = 20, classes = 3;
const std::string network_name = "cifar_resnet20_w4";

std::vector<float> pixels(unsigned seed, int size = side) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(std::size_t(batch) * size * size * 3);
  for (float& v : x) v = normal(random);
  return x;
}

Tensor input(Device& device, unsigned seed = 5, int size = side) {
  return Tensor::from_host(device, {batch, size, size, 3}, pixels(seed, size));
}

// One-hot, but for the last row, which is shared by two classes.
Tensor targets(Device& device) {
  return Tensor::from_host(device, {batch, classes},
                           std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5f, 0.5f, 0});
}

TrainOptions options() {
  TrainOptions o;
  o.model = network_name;
  o.classes = classes;
  o.schedule = {.peak = 0.1, .last = 0.001, .warm_up = 2, .steps = 40};
  return o;
}

std::vector<ParameterValue> start(bool zero_residual = false) {
  return initial_parameters(network_name, classes, 3, zero_residual);
}

// The mean loss in float64 arithmetic on top of fp32 logits.
double loss_of(Device& device, const std::string& model, int size,
               const std::vector<ParameterValue>& values) {
  const auto network = build_trainable(device, model, classes, values);
  Tape tape(device);
  const auto z = tape.value(network->forward(tape, tape.input(input(device, 5, size)), {})).to_host();
  const auto q = targets(device).to_host();
  double loss = 0;
  for (std::size_t i = 0; i < batch; ++i) {
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(double(z[i * classes + c]));
    for (std::size_t c = 0; c < classes; ++c) {
      loss -= double(q[i * classes + c]) * (double(z[i * classes + c]) - std::log(sum)) / batch;
    }
  }
  return loss;
}

std::vector<float> flat(const std::vector<ParameterValue>& values) {
  std::vector<float> all;
  for (const ParameterValue& v : values) all.insert(all.end(), v.values.begin(), v.values.end());
  return all;
}

// Every `stride`th parameter.
void check_slopes(const std::string& model, int size, std::size_t stride, double step, double tolerance) {
  CAPTURE(model);
  Device& device = test_device();
  const auto values = initial_parameters(model, classes, 3, false);
  const auto network = build_trainable(device, model, classes, values);
  Tape tape(device);
  const NodeId logits = network->forward(tape, tape.input(input(device, 5, size)), {});
  const Tensor losses(device, {batch}), seed(device, {batch, classes}), want = targets(device);
  kernels::CrossEntropy entropy{.rows = batch, .columns = classes, .logits = tape.value(logits).data()};
  entropy.targets = want.data();
  entropy.scale = 1.0f / batch;
  entropy.loss = losses.data();
  entropy.dlogits = seed.data();
  device.kernels().cross_entropy(entropy, device.stream());
  GradientRule rule(network->slots());
  Walk(tape, rule, logits, {}).run(seed);
  const auto gradients = network->parameters().to_host({network->parameters().gradients()[0],
                                                        network->parameters().gradients()[1],
                                                        network->parameters().zeros_like(true)[2]});

  const auto specs = model_parameters(model, classes);
  for (std::size_t p = 0; p < specs.size(); ++p) {
    if ((specs.size() - 1 - p) % stride != 0) continue;
    if (network->parameters().all()[p].kind == ParameterKind::statistic) continue;
    CAPTURE(specs[p].name);
    // Along the gradient itself the slope is its norm: an error anywhere in the tensor shows.
    double square = 0;
    for (const float g : gradients[p].values) square += double(g) * g;
    const double norm = std::sqrt(square);
    REQUIRE(norm > 0);
    const auto moved = [&](double by) {
      auto other = values;
      for (std::size_t i = 0; i < other[p].values.size(); ++i) {
        other[p].values[i] = float(double(other[p].values[i]) + by * gradients[p].values[i] / norm);
      }
      return loss_of(device, model, size, other);
    };
    const double slope = (moved(step) - moved(-step)) / (2 * step);
    CHECK(slope == doctest::Approx(norm).epsilon(tolerance));
  }
}

}  // namespace

TEST_CASE("the gradient of every parameter is the loss's slope") {
  // The step: fp32 losses of order 1, rounding of 1e-7 against a change of step · norm. The tolerance: curvature, ReLUs that
  // switch within the step, and fp32 through twenty layers.
  check_slopes(network_name, side, 1, 2e-3, 0.02);
}

TEST_CASE("the other families train too: gradients are slopes") {
  // Some parameters of each, the head's first: weights over a flattened image, biases of convolutions, batch norms that
  // precede them, depthwise convolutions, ReLU6.
  check_slopes("vgg11_bn_w2", 32, 5, 2e-3, 0.02);
  check_slopes("squeezenet1_1_w16", 32, 5, 2e-3, 0.02);
  check_slopes("mobilenet_v2_w8", 64, 23, 2e-3, 0.02);
  check_slopes("densenet121_w2", 64, 61, 2e-3, 0.02);
}

TEST_CASE("steps lower the loss; two runs, and a run that goes on, are the same bits") {
  Device& device = test_device();
  for (const bool adam : {false, true}) {
    CAPTURE(adam);
    TrainOptions o = options();
    o.optimizer.kind = adam ? OptimizerKind::adamw : OptimizerKind::sgd;
    if (adam) o.schedule.peak = 0.01;
    o.optimizer.clip_norm = 1;
    o.dropout = 0.05f;
    o.average = 0.9f;
    o.smoothing = 0.05f;
    const auto run = [&](Trainer& trainer, int steps) {
      double loss = 0;
      for (int i = 0; i < steps; ++i) loss = trainer.step(input(device), targets(device)).loss;
      return loss;
    };
    Trainer straight(device, o, start(true));
    const double first = straight.step(input(device), targets(device)).loss, last = run(straight, 11);
    CHECK(last < first - 0.05);  // dropout makes single losses jump about

    Trainer begun(device, o, start(true));
    run(begun, 5);
    Trainer resumed(device, o, begun.parameters());
    resumed.restore(begun.steps_done(), begun.state());
    run(resumed, 7);
    CHECK(resumed.steps_done() == 12);
    CHECK_SAME_BITS(flat(resumed.parameters()), flat(straight.parameters()));
    CHECK_SAME_BITS(flat(resumed.learnt()), flat(straight.learnt()));
    CHECK(flat(straight.learnt()) != flat(straight.parameters()));
    for (const auto& [name, values] : straight.state()) CHECK_SAME_BITS(values, resumed.state().at(name));
  }
}

TEST_CASE("a state that does not fit is refused and changes nothing") {
  Device& device = test_device();
  Trainer trainer(device, options(), start());
  auto state = trainer.state();
  const auto before = flat(trainer.parameters());
  auto missing = state;
  missing.erase("velocity.plain");
  CHECK_THROWS_WITH_AS(trainer.restore(1, missing), "the training state has no velocity.plain", Error);
  state["velocity.decayed"].pop_back();
  CHECK_THROWS_AS(trainer.restore(1, state), Error);
  CHECK(trainer.steps_done() == 0);
  CHECK_SAME_BITS(before, flat(trainer.parameters()));
}

TEST_CASE("a loss that is not finite names the step and the layer, and the parameters stay") {
  Device& device = test_device();
  auto values = start();
  Trainer good(device, options(), values);
  good.step(input(device), targets(device));
  const auto before = flat(good.parameters());
  auto x = pixels(5);
  x[100] = NAN;
  const Tensor bad = Tensor::from_host(device, {batch, side, side, 3}, x);
  CHECK_THROWS_WITH_AS(good.step(bad, targets(device)),
                       "step 2: the loss is nan; the first layer whose output is not finite is input", Error);
  const auto specs = model_parameters(network_name, classes);
  const auto after = good.parameters();
  std::size_t at = 0;
  for (std::size_t p = 0; p < specs.size(); ++p) {
    for (const float v : after[p].values) {
      if (specs[p].name.find("running") == std::string::npos) REQUIRE(v == before[at]);
      ++at;
    }
  }
  for (std::size_t p = 0; p < specs.size(); ++p) {
    if (specs[p].name == "layer2.1.conv1.weight") values[p].values[3] = INFINITY;
  }
  Trainer broken(device, options(), values);
  CHECK_THROWS_WITH_AS(broken.step(input(device), targets(device)),
                       "step 1: parameter layer2.1.conv1.weight is not finite", Error);
}

TEST_CASE("what is learnt folds into a model that gives the training network's answers") {
  // With running statistics equal to the batch's, both are the same function.
  Device& device = test_device();
  auto values = start();
  TrainOptions o = options();
  Trainer trainer(device, o, values);
  for (int i = 0; i < 120; ++i) {
    // A rate of 0 leaves the parameters alone; the running statistics come to the batch's.
    Tape tape(device);
    trainer.network().forward(tape, tape.input(input(device)), {});
  }
  Tape train(device), infer(device);
  const NodeId a = trainer.network().forward(train, train.input(input(device)), {});
  const auto folded =
      build_model(device, network_name, classes, fold_model(network_name, classes, trainer.parameters()));
  const NodeId b = folded->forward(infer, infer.input(input(device)));
  // The running variance is the unbiased one: n / (n − 1) apart, with n = 4 · 5 · 5 pixels in the last stage.
  CHECK(compare(infer.value(b).to_host(), train.value(a).to_host()).relative_rms < 0.02);
}

TEST_CASE("schedule") {
  const CosineSchedule s{.peak = 1, .last = 0.1, .warm_up = 10, .steps = 110};
  CHECK(s.rate(1) == doctest::Approx(0.1));
  CHECK(s.rate(10) == doctest::Approx(1));
  CHECK(s.rate(60) == doctest::Approx(0.55));
  CHECK(s.rate(110) == doctest::Approx(0.1));
  const CosineSchedule flat_start{.peak = 1, .last = 0, .warm_up = 0, .steps = 100};
  CHECK(flat_start.rate(50) == doctest::Approx(0.5));
}

TEST_CASE("initial parameters") {
  const auto specs = model_parameters("resnet18_w8", 5);
  const auto values = initial_parameters("resnet18_w8", 5, 1, true);
  const auto again = initial_parameters("resnet18_w8", 5, 1, true),
             other = initial_parameters("resnet18_w8", 5, 2, true);
  CHECK_SAME_BITS(flat(values), flat(again));
  for (std::size_t p = 0; p < specs.size(); ++p) {
    CAPTURE(specs[p].name);
    const auto& v = values[p].values;
    double mean = 0, square = 0;
    for (const float x : v) mean += x / double(v.size());
    for (const float x : v) square += double(x) * x / double(v.size());
    if (specs[p].shape.size() == 4) {
      const double variance = 2.0 / double(specs[p].shape[0] * specs[p].shape[2] * specs[p].shape[3]);
      // The variance of n normal numbers is off by √(2 / n) in the mean: five times that.
      CHECK(square == doctest::Approx(variance).epsilon(5 * std::sqrt(2.0 / double(v.size()))));
      CHECK(v != other[p].values);
    } else if (specs[p].name == "layer1.0.bn2.weight") {
      CHECK(square == 0);
    } else if (specs[p].name == "layer1.0.bn1.weight") {
      CHECK(mean == 1);
    } else if (specs[p].name == "fc.bias" || specs[p].name == "fc.weight") {
      const float bound = 1 / std::sqrt(float(specs.at(specs.size() - 2).shape[1]));
      for (const float x : v) CHECK(std::abs(x) <= bound);
    }
  }
}
