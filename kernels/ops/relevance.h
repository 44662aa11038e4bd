// Arguments of the launchers that only relevance propagation needs.
#pragma once
#include <cstdint>

#include "kernels/signal.h"
#include "kernels/stream.h"

namespace retrace::kernels {

// out = all · w + positive · max(w, 0) + negative · min(w, 0), element by element: the weights a rule propagates
// with, e.g. w + γ w⁺ (all 1, positive γ), |w| (positive 1, negative −1).
struct WeightPart {
  long long count = 0;
  const float* w = nullptr;
  float all = 0, positive = 0, negative = 0;
  float* out = nullptr;
};

struct RelevanceGate {};

}  // namespace retrace::kernels
