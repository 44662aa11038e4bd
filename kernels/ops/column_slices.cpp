// How column_sums cuts its rows into slices: a function of their number alone.
#include <algorithm>

#include "kernels/ops/checks.h"
#include "kernels/ops/train.h"

namespace retrace::kernels {

// A float for each slice and column: slices of at least 256 rows, of which each of the block's eight threads per
// column adds 32, and no more of them than one thread adds quickly.
long long column_sums_workspace(int rows, int columns) {
  check_positive("column_sums", "rows", rows);
  check_positive("column_sums", "columns", columns);
  return std::clamp((rows - 1) / 256 + 1, 1, 256) * 1LL * columns;
}

}  // namespace retrace::kernels
