// Sums and ReLU in float64.
#pragma once
#include "tests/reference/signal.h"

namespace retrace::reference {

// a + b; an empty b adds nothing.
inline Values add(const std::vector<float>& a, const std::vector<float>& b) {
  Values y(a.begin(), a.end());
  for (std::size_t i = 0; i < b.size(); ++i) y[i] += b[i];
  return y;
}

}  // namespace retrace::reference
