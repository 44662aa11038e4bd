// One call for every method: a forward pass on a tape, a target per image, a method; out come heat maps.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "attribution/ledger.h"
#include "attribution/lrp.h"
#include "engine/models/model.h"

namespace retrace {

enum class MethodKind : std::uint8_t { input_gradient, grad_cam, lrp };

struct Method {
  MethodKind kind = MethodKind::input_gradient;
  std::string text;   // as it was asked for: "lrp:epsilon-plus-flat,bias=absorb"
  std::string layer;  // grad-cam: the layer looked at; empty: the model's own choice
  LrpOptions lrp;

  // `text` with everything that does not belong in a file name replaced.
  std::string file_name() const;
};

// NAME[:OPTION,…]; an option is key=value, or for lrp also the composite's name. UsageError says what there is.
//   input-gradient                 Simonyan et al. 2014
//   grad-cam[:layer=NAME]          Selvaraju et al. 2017
//   lrp[:COMPOSITE,bias=absorb|ignore|spread,residual=joint|split,start=logit|one-hot,gamma=,alpha=,beta=,epsilon=]
Method parse_method(const std::string& text);
// Several, separated by ';' or given one by one.
std::vector<Method> parse_methods(const std::vector<std::string>& texts);
std::vector<std::string> method_names();

struct Attribution {
  std::string method;
  Shape shape;                // [N, C, H, W] for pixel attributions, [N, H, W] for class activation maps
  std::vector<float> values;  // in that shape, unnormalised
  Shape grid_shape;           // of a class activation map before upsampling: [N, h, w]; else empty
  std::vector<float> grid;
  std::vector<double> sum;    // per image: Σ of the map
  std::vector<double> start;  // per image: what was explained: the target's logit, or 1 for a one-hot start
  std::optional<Ledger> ledger;
  std::vector<std::string> warnings;
  double milliseconds = 0;  // of the walk, results still on the device

  bool is_cam() const { return shape.size() == 3; }
};

// Explains the logits [N, K] at `logits`, which model.forward returned for the tape's input. One target index per
// image. Throws UsageError for a target out of range or a layer that is not there.
Attribution attribute(const Model& model, const Tape& tape, NodeId logits, const std::vector<int>& targets,
                      const Method& method);

}  // namespace retrace
