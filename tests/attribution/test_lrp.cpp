// LRP's c form on the device against the R form in float64, rule by rule and policy by policy, and its ledger.
#include <doctest/doctest.h>

#include <cmath>

#include "attribution/lrp.h"
#include "tests/common/compare.h"
#include "tests/common/small_nets.h"
#include "tests/common/test_device.h"
#include "tests/reference/tape.h"

using namespace retrace;

namespace {

struct Case {
  Tape tape;
  NodeId logits;
  int target = 0;  // the best class of the first picture
};

Case make_case(Device& device, unsigned number, SmallNet kind, float bias = 0.2f) {
  SmallNets nets(device, number);
  const Tensor x = nets.values({2, 12, 12, 3});
  Case made{Tape(device), no_node};
  made.logits = nets.net(kind, made.tape, x, bias);
  const auto scores = made.tape.value(made.logits).to_host();
  const auto classes = made.tape.value(made.logits).dim(1);
  made.target = int(std::max_element(scores.begin(), scores.begin() + classes) - scores.begin());
  return made;
}

// Relevance per unit (1 at the target) for the walk, and the relevance itself for the reference.
std::pair<Tensor, reference::Values> starts(Device& device, const Case& made,
                                            const reference::TapeReference& exact) {
  const Tensor& z = made.tape.value(made.logits);
  std::vector<float> unit(std::size_t(z.size()));
  reference::Values relevance(unit.size());
  for (std::int64_t i = 0; i < z.dim(0); ++i) {
    const std::size_t at = std::size_t(i * z.dim(1) + made.target);
    unit[at] = 1;
    relevance[at] = exact.value(made.logits)[at];
  }
  return {Tensor::from_host(device, z.shape(), unit), relevance};
}

void check_against_reference(const LrpOptions& options, const Case& made, double tolerance) {
  Device& device = made.tape.device();
  const reference::TapeReference exact(made.tape);
  const auto [unit, relevance] = starts(device, made, exact);
  LrpRule rule(options);
  const auto got = Walk(made.tape, rule, made.logits, {0}).run(unit).at(0).to_host();
  const auto want = exact.relevance(made.logits, relevance, options);
  const auto c = compare(got, want);
  CHECK_MESSAGE(c.relative_rms < tolerance, c.message());
  const Ledger ledger = rule.ledger(0);
  for (std::size_t image = 0; image < 2; ++image) {
    const LedgerTotals t = ledger.totals(image);
    // Rounding of sums of some thousand fp32 values, relative to the largest of them.
    CHECK(std::abs(t.unexplained) < 1e-5);
    double sum = 0;
    for (std::size_t i = 0; i < got.size() / 2; ++i) sum += got[image * got.size() / 2 + i];
    CHECK(t.arrived == doctest::Approx(sum).epsilon(1e-9));
    for (const LedgerRow& row : ledger.rows) {
      const LedgerEntry& e = row.images[image];
      const double open = e.entering - e.leaving - e.absorbed_bias - e.absorbed_epsilon - e.dropped;
      // What flows may be far more than what is left of it when signs cancel.
      const double scale = std::max({std::abs(e.entering), std::abs(e.leaving), std::abs(t.start), e.flow});
      CHECK_MESSAGE(std::abs(open) < 1e-5 * scale,
                    row.layer << " (" << row.rule << ") leaves " << open << " open");
    }
  }
}

const BiasPolicy policies[] = {BiasPolicy::absorb, BiasPolicy::ignore, BiasPolicy::spread};

// A denominator near zero multiplies fp32 rounding; over all rules and seeds here the worst is about 3e-4 (gamma and
// epsilon with `ignore`, which the design calls fragile), the usual 1e-6.
// Batch norms of their own have the epsilon rule under every composite.
double tolerance_for(const LrpOptions& o, SmallNet kind) {
  const bool divides_by_cancelled_sums = o.conv == LayerRule::epsilon || o.conv == LayerRule::gamma;
  if (kind == SmallNet::with_signs) return 2e-3;
  if (!divides_by_cancelled_sums) return 2e-5;
  return o.bias == BiasPolicy::ignore || o.residual == ResidualPolicy::split || o.conv == LayerRule::epsilon
             ? 2e-3
             : 2e-5;
}

}  // namespace

TEST_CASE("every composite, bias policy and residual policy agrees with the R form in float64") {
  Device& device = test_device();
  for (const SmallNet kind : small_nets) {
    const Case made = make_case(device, 21, kind);
    for (const std::string& name : lrp_composites()) {
      for (const BiasPolicy bias : policies) {
        for (const ResidualPolicy policy : {ResidualPolicy::joint, ResidualPolicy::split}) {
          LrpOptions options = lrp_composite(name);
          if (options.conv == LayerRule::alpha_beta && policy == ResidualPolicy::joint) continue;
          options.bias = bias;
          options.residual = policy;
          options.low.fill(-2.5f);
          options.high.fill(2.5f);
          CAPTURE(int(kind));
          CAPTURE(name);
          CAPTURE(int(bias));
          CAPTURE(int(policy));
          check_against_reference(options, made, tolerance_for(options, kind));
        }
      }
    }
  }
}

TEST_CASE("rules no composite has: w-square first, gamma and alpha-beta in linear layers, other parameters") {
  Device& device = test_device();
  const Case made = make_case(device, 22, SmallNet::residual);
  for (const BiasPolicy bias : policies) {
    CAPTURE(int(bias));
    LrpOptions options = lrp_composite("epsilon-plus-flat");
    options.bias = bias;
    options.first = LayerRule::w_square;
    options.linear = LayerRule::z_plus;
    check_against_reference(options, made, 2e-5);
    options.linear = LayerRule::gamma;
    options.first = LayerRule::gamma;  // on signed pixels
    options.gamma = 0.5f;
    check_against_reference(options, made, 2e-3);
    options = lrp_composite("epsilon-alpha2-beta1");
    options.bias = bias;
    options.alpha = 1.5f;
    options.beta = 0.5f;
    options.linear = LayerRule::alpha_beta;
    options.epsilon = 1e-3f;
    check_against_reference(options, made, 2e-5);
  }
}

TEST_CASE("the default conserves: the map's sum is the score, whatever the biases") {
  Device& device = test_device();
  for (unsigned number = 30; number < 36; ++number) {
    for (const float bias : {0.0f, 0.2f, 1.0f}) {
      const Case made = make_case(device, number, SmallNet::residual, bias);
      LrpRule rule{LrpOptions{}};
      const reference::TapeReference exact(made.tape);
      const auto [unit, relevance] = starts(device, made, exact);
      Walk(made.tape, rule, made.logits, {0}).run(unit);
      const Ledger ledger = rule.ledger(0);
      for (std::size_t image = 0; image < 2; ++image) {
        const LedgerTotals t = ledger.totals(image);
        CAPTURE(number);
        CAPTURE(bias);
        // Less what no unit can hand on: what is alive only through its bias.
        CHECK(std::abs(t.arrived + t.dropped - t.start) < 1e-4 * std::abs(t.start));
        CHECK(t.absorbed_bias == 0);
        CHECK(t.absorbed_epsilon == 0);
      }
    }
  }
}

TEST_CASE("epsilon to 0 on a network without biases is gradient x input") {
  Device& device = test_device();
  for (const ResidualPolicy policy : {ResidualPolicy::joint, ResidualPolicy::split}) {
    const Case made = make_case(device, 40, SmallNet::residual, 0.0f);
    LrpOptions options = lrp_composite("epsilon");
    options.residual = policy;
    options.epsilon = 0.0f;
    LrpRule lrp(options);
    GradientRule gradient;
    const reference::TapeReference exact(made.tape);
    const auto [unit, relevance] = starts(device, made, exact);
    const auto r = Walk(made.tape, lrp, made.logits, {0}).run(unit).at(0).to_host();
    const auto g = Walk(made.tape, gradient, made.logits, {0}).run(unit).at(0).to_host();
    const auto x = made.tape.value(0).to_host();
    std::vector<double> want(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) want[i] = double(g[i]) * x[i];
    // The quotient z / z is 1 to a rounding in every layer; split multiplies by it at both ends of each branch.
    CHECK(compare(r, want).relative_rms < 1e-5);
  }
}

TEST_CASE("relevance where it is not defined is refused with the layer's name") {
  Device& device = test_device();
  SmallNets nets(device, 50);
  const Tensor x = nets.values({1, 8, 8, 3});
  const auto run = [&](const Tape& tape, NodeId from) {
    LrpRule rule{LrpOptions{}};
    const Tensor seed = Tensor::from_host(device, tape.value(from).shape(),
                                          std::vector<float>(std::size_t(tape.value(from).size()), 1));
    Walk(tape, rule, from, {0}).run(seed);
  };
  {
    Tape tape(device);
    const NodeId out = tape.softmax(nets.plain_net(tape, x), false, "soft");
    CHECK_THROWS_WITH_AS(run(tape, out), doctest::Contains("layer soft"), Error);
  }
  {
    Tape tape(device);
    const NodeId pool =
        tape.avg_pool(tape.input(x), {.r = 2, .s = 2, .stride_h = 2, .stride_w = 2}, true, "pool");
    CHECK_THROWS_WITH_AS(run(tape, pool), doctest::Contains("layer pool"), Error);
  }
}
