// Softmax along rows:
//   softmax_fprop     y_i = exp(x_i − m) / Σ exp(x_j − m), or its logarithm x_i − m − log Σ exp(x_j − m); m = max x
//   softmax_backward  dx_i = y_i (dy_i − Σ y_j dy_j), or, for the logarithm, dx_i = dy_i − exp(y_i) Σ dy_j
// A NaN anywhere makes its whole row NaN, as in PyTorch.
//
// Shapes: [rows, columns] float32.
//
// Launch: one warp per row, 4 warps per block; the lanes stride over the columns and meet in butterflies. A
// lane reads and writes the same columns in every pass, so y may be x and dx may be dy.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int warps = 4;

__global__ void __launch_bounds__(32 * warps)
    fprop(int rows, int columns, bool log, const float* x, float* y) {
  const int lane = int(threadIdx.x) % 32;
  const long long row = blockIdx.x * 1LL * warps + threadIdx.x / 32;
  if (row >= rows) return;  // the whole warp
  x += row * columns;
  y += row * columns;
  float largest = -INFINITY;
  for (int i = lane; i < columns; i += 32) {
    if (x[i] > largest) largest = x[i];
  }
  largest = warp_max(largest);
  float sum = 0.0f;
  for (int i = lane; i < columns; i += 32) sum += expf(x[i] - largest);
  sum = warp_sum(sum);
  if (log) {
    const float log_sum = logf(sum);
    for (int i = lane; i < columns; i += 32) y[i] = x[i] - largest - log_sum;
  } else {
    for (int i = lane; i < columns; i += 32) y[i] = expf(x[i] - largest) / sum;
  }
}

__global__ void __launch_bounds__(32 * warps)
    backward(int rows, int columns, bool log, const float* y, const float* dy, float* dx) {
  const int lane = int(threadIdx.x) % 32;
  const long long row = blockIdx.x * 1LL * warps + threadIdx.x / 32;
  if (row >= rows) return;  // the whole warp
  y += row * columns;
  dy += row * columns;
  dx += row * columns;
  float sum = 0.0f;
  for (int i = lane; i < columns; i += 32) sum += log ? dy[i] : y[i] * dy[i];
  sum = warp_sum(sum);
  for (int i = lane; i < columns; i += 32) dx[i] = log ? dy[i] - expf(y[i]) * sum : y[i] * (dy[i] - sum);
}

long long check_shape(const char* launcher, int rows, int columns) {
  check_positive(launcher, "rows", rows);
  check_positive(launcher, "columns", columns);
  return 4 * checked_elements(launcher, "y", {rows, columns});
}

}  // namespace

void softmax_fprop(const SoftmaxFprop& a, Stream stream) {
  const long long bytes = check_shape("softmax_fprop", a.rows, a.columns);
  check_pointer("softmax_fprop", "x", a.x);
  check_pointer("softmax_fprop", "y", a.y);
  check_same_or_apart("softmax_fprop", {"y", a.y, bytes}, {"x", a.x, bytes});
  launch<fprop>(grid_of("softmax_fprop", blocks_for(a.rows, warps)), 32 * warps, 0, stream)(a.rows, a.columns,
                                                                                            a.log, a.x, a.y);
}

void softmax_backward(const SoftmaxBackward& a, Stream stream) {
  const long long bytes = check_shape("softmax_backward", a.rows, a.columns);
  check_pointer("softmax_backward", "y", a.y);
  check_pointer("softmax_backward", "dy", a.dy);
  check_pointer("softmax_backward", "dx", a.dx);
  check_apart("softmax_backward", {"dx", a.dx, bytes}, {"y", a.y, bytes});
  check_same_or_apart("softmax_backward", {"dx", a.dx, bytes}, {"dy", a.dy, bytes});
  launch<backward>(grid_of("softmax_backward", blocks_for(a.rows, warps)), 32 * warps, 0, stream)(
      a.rows, a.columns, a.log, a.y, a.dy, a.dx);
}

}  // namespace retrace::kernels::RETRACE_TARGET
