// Cross-entropy of softmax with the targets q, label smoothing mixed in (Szegedy et al. 2016):
//   loss = −Σ_i q_i · (x_i − m − log Σ_j exp(x_j − m)),  m = max x
//   dlogits_i = scale · (softmax(x)_i · Σ q − q_i)
//   q_i = (1 − smoothing) · target_i + smoothing / columns
// A NaN anywhere makes its whole row NaN. Classes and the rows of targets they stand for give the same bits.
//
// Shapes: logits, targets, dlogits [rows, columns] float32, classes [rows] int32, loss [rows] float32.
//
// Launch: one warp per row, 4 warps per block; the lanes stride over the columns and meet in butterflies.
#include "kernels/ops/common.cuh"
#include "kernels/ops/train.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int warps = 4;

__device__ __forceinline__ float wanted(const CrossEntropy& a, long long row, int column) {
  const float target = a.classes ? float(a.classes[row] == column) : a.targets[row * a.columns + column];
  return multiply_add(1 - a.smoothing, target, a.smoothing / float(a.columns));
}

__global__ void __launch_bounds__(32 * warps) loss_and_gradient(CrossEntropy a) {
  const int lane = int(threadIdx.x) % 32;
  const long long row = blockIdx.x * 1LL * warps + threadIdx.x / 32;
  if (row >= a.rows) return;  // the whole warp
  const float* const x = a.logits + row * a.columns;
  float largest = -INFINITY;
  for (int i = lane; i < a.columns; i += 32) {
    if (x[i] > largest) largest = x[i];
  }
  largest = warp_max(largest);
  float sum = 0, mass = 0;
  for (int i = lane; i < a.columns; i += 32) {
    sum += expf(x[i] - largest);
    mass += wanted(a, row, i);
  }
  sum = warp_sum(sum);
  mass = warp_sum(mass);
  const float log_sum = logf(sum);
  float loss = 0;
  for (int i = lane; i < a.columns; i += 32) {
    const float q = wanted(a, row, i);
    // 0 · ∞ is no loss where a class is not wanted, but a NaN is one wherever it stands.
    if (q != 0 || x[i] != x[i]) loss = multiply_add(-q, x[i] - largest - log_sum, loss);
  }
  loss = warp_sum(loss);
  const bool no_class = a.classes && (a.classes[row] < 0 || a.classes[row] >= a.columns);
  if (no_class) loss = NAN;
  if (lane == 0) a.loss[row] = loss;
  if (!a.dlogits) return;
  for (int i = lane; i < a.columns; i += 32) {
    const float p = expf(x[i] - largest) / sum;
    a.dlogits[row * a.columns + i] = no_class ? NAN : a.scale * multiply_add(p, mass, -wanted(a, row, i));
  }
}

}  // namespace

void cross_entropy(const CrossEntropy& a, Stream stream) {
  const char* const me = "cross_entropy";
  check_positive(me, "rows", a.rows);
  check_positive(me, "columns", a.columns);
  const long long bytes = 4 * checked_elements(me, "logits", {a.rows, a.columns});
  check_pointer(me, "logits", a.logits);
  check_pointer(me, "loss", a.loss);
  if (!a.classes == !a.targets)
    refuse(me, "the target", a.classes ? "both kinds" : "neither kind", "classes or targets");
  if (!(a.smoothing >= 0 && a.smoothing <= 1)) refuse(me, "smoothing", std::to_string(a.smoothing), "0 to 1");
  const Operand logits{"logits", a.logits, bytes}, targets{"targets", a.targets, bytes},
      classes{"classes", a.classes, 4LL * a.rows};
  const Operand loss{"loss", a.loss, 4LL * a.rows}, dlogits{"dlogits", a.dlogits, bytes};
  for (const Operand& in : {logits, targets, classes}) {
    check_apart(me, loss, in);
    check_apart(me, dlogits, in);
  }
  check_apart(me, loss, dlogits);
  launch<loss_and_gradient>(grid_of(me, blocks_for(a.rows, warps)), 32 * warps, 0, stream)(a);
}

}  // namespace retrace::kernels::RETRACE_TARGET
