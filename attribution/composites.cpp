// Which rule which layer gets: data, not code.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "attribution/lrp.h"

namespace retrace {

namespace {

struct Composite {
  const char* name;
  LayerRule first, conv, linear;
};

// The first is the default. The others are Zennit's composites of these names (Anders et al. 2021).
constexpr Composite composites[] = {
    {"gamma-flat", LayerRule::flat, LayerRule::gamma, LayerRule::epsilon},
    {"epsilon", LayerRule::epsilon, LayerRule::epsilon, LayerRule::epsilon},
    {"epsilon-plus", LayerRule::z_plus, LayerRule::z_plus, LayerRule::epsilon},
    {"epsilon-plus-flat", LayerRule::flat, LayerRule::z_plus, LayerRule::epsilon},
    {"epsilon-gamma-box", LayerRule::z_box, LayerRule::gamma, LayerRule::epsilon},
    {"epsilon-alpha2-beta1", LayerRule::alpha_beta, LayerRule::alpha_beta, LayerRule::epsilon},
    {"epsilon-alpha2-beta1-flat", LayerRule::flat, LayerRule::alpha_beta, LayerRule::epsilon},
};

}  // namespace

const char* layer_rule_name(LayerRule rule) {
  constexpr const char* names[] = {"epsilon", "z-plus", "gamma", "alpha-beta", "z-box", "flat", "w-square"};
  return names[std::size_t(rule)];
}

const std::vector<std::string>& lrp_composites() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const Composite& c : composites) list.emplace_back(c.name);
    return list;
  }();
  return names;
}

LrpOptions lrp_composite(const std::string& name) {
  for (const Composite& c : composites) {
    if (name != c.name) continue;
    LrpOptions options;
    options.composite = name;
    options.first = c.first;
    options.conv = c.conv;
    options.linear = c.linear;
    if (c.conv == LayerRule::alpha_beta) options.residual = ResidualPolicy::split;
    return options;
  }
  throw UsageError(
      fmt::format("lrp composite '{}': expected one of {}", name, fmt::join(lrp_composites(), ", ")));
}

void check(const LrpOptions& o) {
  const auto require = [](bool holds, const std::string& what) {
    if (!holds) throw UsageError("lrp: " + what);
  };
  const auto only_first = [](LayerRule r) {
    return r == LayerRule::z_box || r == LayerRule::flat || r == LayerRule::w_square;
  };
  require(!only_first(o.conv) && !only_first(o.linear),
          fmt::format("{} is a rule for the first convolution only",
                      layer_rule_name(only_first(o.conv) ? o.conv : o.linear)));
  const bool uses_alpha_beta = o.first == LayerRule::alpha_beta || o.conv == LayerRule::alpha_beta ||
                               o.linear == LayerRule::alpha_beta;
  require(!(uses_alpha_beta && o.residual == ResidualPolicy::joint),
          "alpha-beta goes with residual=split only: joint would compound alpha block after block");
  require(!uses_alpha_beta || (o.beta >= 0 && std::abs(o.alpha - o.beta - 1) < 1e-6f),
          fmt::format("alpha - beta must be 1 and beta at least 0, found alpha={} beta={}", o.alpha, o.beta));
  require(o.gamma >= 0, fmt::format("gamma must not be negative, found {}", o.gamma));
  require(!o.epsilon || *o.epsilon >= 0,
          fmt::format("epsilon must not be negative, found {}", o.epsilon.value_or(0)));
}

}  // namespace retrace
