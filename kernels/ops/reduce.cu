// Sums for the ledger and for completeness checks: out[i] = Σ_j a[i, j] · b[i, j], products and sums in
// double.
//
// Shapes: a, b [n, count] float32; out [n] float64. A null b counts as 1.
//
// Launch: one block of 512 threads per image. Element j belongs to thread (j / 4) % 512, which adds its
// elements in rising order; then the first warp adds 16 threads' sums per lane, in order, and a butterfly the
// lanes'. The order depends on nothing but `count`, so results are the same run after run and in any batch.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 512;

template <bool Two>
__global__ void __launch_bounds__(threads)
    dot(long long count, bool wide, const float* a, const float* b, double* out) {
  SHARED(double, sums, threads);
  const int thread = int(threadIdx.x);
  a += blockIdx.x * count;
  if constexpr (Two) b += blockIdx.x * count;
  double sum = 0;
  const long long whole = wide ? count / 4 * 4 : 0;
  long long i = thread * 4LL;
#pragma unroll 4
  for (; i < whole; i += threads * 4) {
    float x[4], y[4] = {};
    load_wide<4>(a + i, x);
    if constexpr (Two) load_wide<4>(b + i, y);
#pragma unroll
    for (int j = 0; j < 4; ++j) sum += Two ? double(x[j]) * double(y[j]) : double(x[j]);
  }
  for (; i < count; i += threads * 4) {
    for (long long j = i; j < i + 4 && j < count; ++j)
      sum += Two ? double(a[j]) * double(b[j]) : double(a[j]);
  }
  sums[thread] = sum;
  __syncthreads();
  if (thread >= 32) return;
  sum = 0;
  for (int part = 0; part < threads / 32; ++part) sum += sums[part * 32 + thread];
#pragma unroll
  for (int bit = 16; bit >= 1; bit /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, bit);
  if (thread == 0) out[blockIdx.x] = sum;
}

}  // namespace

void reduce_dot(const ReduceDot& a, Stream stream) {
  check_positive("reduce_dot", "n", a.n);
  check_positive("reduce_dot", "count", a.count);
  check_pointer("reduce_dot", "a", a.a);
  check_pointer("reduce_dot", "out", a.out);
  const long long bytes = 4 * checked_elements("reduce_dot", "a", {a.n, a.count});
  const Operand out{"out", a.out, 8LL * a.n};
  check_apart("reduce_dot", out, {"a", a.a, bytes});
  check_apart("reduce_dot", out, {"b", a.b, bytes});
  // Every image must begin on a 16-byte boundary.
  const bool wide = aligned({a.a, a.b}, 16) && (a.n == 1 || a.count % 4 == 0);
  const dim3 grid = grid_of("reduce_dot", a.n);
  if (a.b) {
    launch<dot<true>>(grid, threads, 0, stream)(a.count, wide, a.a, a.b, a.out);
  } else {
    launch<dot<false>>(grid, threads, 0, stream)(a.count, wide, a.a, a.b, a.out);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
