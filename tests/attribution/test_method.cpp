// What a method's text means, and what is refused.
#include <doctest/doctest.h>

#include "attribution/attribute.h"

using namespace retrace;

TEST_CASE("methods and their options") {
  const Method plain = parse_method("lrp");
  CHECK(plain.lrp.composite == "gamma-flat");
  CHECK(plain.lrp.bias == BiasPolicy::spread);
  CHECK(plain.lrp.residual == ResidualPolicy::joint);
  CHECK(plain.lrp.start == Start::logit);
  CHECK(plain.lrp.gamma == 0.25f);
  CHECK(plain.lrp.epsilon_value() == 0);
  const Method full =
      parse_method("lrp:bias=absorb,epsilon-plus-flat,residual=split,start=one-hot,epsilon=1e-3");
  CHECK(full.lrp.composite == "epsilon-plus-flat");
  CHECK(full.lrp.conv == LayerRule::z_plus);
  CHECK(full.lrp.first == LayerRule::flat);
  CHECK(full.lrp.bias == BiasPolicy::absorb);
  CHECK(full.lrp.start == Start::one_hot);
  CHECK(full.lrp.epsilon_value() == 1e-3f);
  CHECK(parse_method("lrp:epsilon-alpha2-beta1").lrp.residual == ResidualPolicy::split);
  CHECK(parse_method("lrp:epsilon-alpha2-beta1").lrp.epsilon_value() == 1e-6f);
  CHECK(parse_method("lrp:epsilon-alpha2-beta1,alpha=1.5").lrp.beta == 0.5f);
  CHECK(parse_method("grad-cam:layer=layer3.1").layer == "layer3.1");
  CHECK(parse_method("lrp:gamma-flat,gamma=0.5").file_name() == "lrp_gamma-flat_gamma=0.5");
  CHECK(parse_methods({"lrp; grad-cam", "input-gradient"}).size() == 3);
}

TEST_CASE("what does not make sense is refused with what would") {
  const auto refuses = [](const std::string& text, const char* part) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(parse_method(text), doctest::Contains(part), UsageError);
  };
  refuses("lpr", "input-gradient, grad-cam, lrp");
  refuses("lrp:gamma", "gamma-flat, epsilon");
  refuses("lrp:bias=keep", "absorb, ignore, spread");
  refuses("lrp:residual=sum", "joint, split");
  refuses("lrp:start=2", "logit, one-hot");
  refuses("lrp:gamma=x", "not a number");
  refuses("lrp:gamma=nan", "not a number");
  refuses("lrp:gamma=-1", "must not be negative");
  refuses("lrp:epsilon=-1", "must not be negative");
  refuses("lrp:layer=conv1", "option 'layer'");
  refuses("lrp:epsilon-alpha2-beta1,residual=joint", "residual=split only");
  refuses("lrp:epsilon-alpha2-beta1,beta=3", "must be 1");
  refuses("grad-cam:layer=", "names no layer");
  refuses("input-gradient:steps=3", "no option 'steps'");
  CHECK_THROWS_AS(parse_methods({}), UsageError);
  CHECK_THROWS_AS(parse_methods({" ; "}), UsageError);
}
