// What LrpRule's two source files share: a sum, and the maps of its arms run with other weights, forward and back.
#pragma once
#include "attribution/lrp.h"

namespace retrace {

// A linear sum with everything that meets in it: what a rule is applied to.
struct LrpRule::Sum {
  NodeId node;
  std::vector<Arm> arms;
  Tensor c, v;        // relevance per unit, and the value it is per unit of
  bool signed_value;  // v can be negative
};

// Runs a linear node's map with other weights: y = part(x) · w (+ bias) (+ residual).
void run_map(Walk& walk, NodeId map_node, const Tensor& x, kernels::Part part, float alpha, const Tensor& w,
             const Tensor* bias, const float* residual, const Tensor& y);

// dx = alpha · part(multiply) ⊙ mapᵀ(s) + pending
void run_back(Walk& walk, NodeId map_node, const Tensor& s, const Tensor& w, float alpha,
              const float* multiply, kernels::Part part, const Walk::Sink& sink);

// What a map with these weights is to a negative value.
inline PartKey mirrored(PartKey key) {
  return {key.all, key.negative, key.positive};
}

}  // namespace retrace
