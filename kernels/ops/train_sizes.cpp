// How much memory the kernels of training need.
#include "kernels/ops/checks.h"
#include "kernels/ops/slices.h"
#include "kernels/ops/train.h"

namespace retrace::kernels {

// Two doubles per slice and channel, and two more per channel.
long long batch_norm_workspace(int pixels, int c) {
  check_positive("batch_norm", "pixels", pixels);
  check_positive("batch_norm", "c", c);
  return (norm_slices(pixels) + 1) * 4LL * c;
}

int sum_squares_partials(long long count) {
  check_positive("sum_squares", "count", count);
  return int((checked_elements("sum_squares", "x", {count}) - 1) / squares_slice + 1);
}

}  // namespace retrace::kernels
