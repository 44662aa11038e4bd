// The parameter-free shortcut in float64.
#pragma once
#include "tests/reference/signal.h"

namespace retrace::reference {

// Calls visit(index into y, index into x) for every value that is copied.
template <class Visit>
void for_each_shortcut(int n, int h, int w, int c, int k, int stride, Visit visit) {
  const int p = (h + stride - 1) / stride, q = (w + stride - 1) / stride, pad = (k - c) / 2;
  for (int image = 0; image < n; ++image) {
    for (int row = 0; row < p; ++row) {
      for (int column = 0; column < q; ++column) {
        for (int i = 0; i < c; ++i) {
          const int out = ((image * p + row) * q + column) * k + pad + i;
          const int in = ((image * h + row * stride) * w + column * stride) * c + i;
          visit(std::size_t(out), std::size_t(in));
        }
      }
    }
  }
}

}  // namespace retrace::reference
