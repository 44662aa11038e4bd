// How much memory the kernels of training need.
#include <algorithm>

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

// A float for each slice and column: slices of at least 256 rows, of which each of the block's eight threads per
// column adds 32, and no more of them than one thread adds quickly.
long long column_sums_workspace(int rows, int columns) {
  check_positive("column_sums", "rows", rows);
  check_positive("column_sums", "columns", columns);
  return std::clamp((rows - 1) / 256 + 1, 1, 256) * 1LL * columns;
}

}  // namespace retrace::kernels
