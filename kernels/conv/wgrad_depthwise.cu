// Weight gradient where every channel has a filter of its own (groups = c = k):
//
//   dw[c, r, s] = Σ_{n, p, q} dy[n, p, q, c] x[n, p·stride − pad + r·dilation, q·stride − pad + s·dilation, c]
//
// The sum over pixels is cut into slices (wgrad_plan.h); a thread sums one slice of eight channels, in rising order, and
// conv2d_wgrad_add_slices adds the slices. A single slice goes straight to dw.
//
// Launch: threads are the channel groups, fastest, then the taps, then the slices; 128 a block. A 3 × 3 filter's nine taps
// are one thread's, which reads dy once for all of them; of other filters a thread makes one tap.
#include "kernels/conv/epilogue.cuh"
#include "kernels/conv/variants.h"
#include "kernels/conv/wgrad_plan.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

constexpr int threads = 128;

template <bool Wide>
__device__ __forceinline__ void load(const float* from, int count, Eight& to) {
  if constexpr (Wide) {
    to.load(from);
  } else {
    float v[8];
    load_eight<false>(from, count, v);
    to.from_array(v);
  }
}

// Side: taps per thread along each axis, 3 or 1. Wide: channels by eights, 16-byte aligned.
template <int Side, bool Wide>
__global__ void __launch_bounds__(threads) wgrad(Conv2dWgrad a, DepthwisePlan plan) {
  constexpr int Taps = Side * Side;
  const Conv2dShape& d = a.shape;
  const int P = d.p(), Q = d.q(), groups = (d.c + 7) / 8, threads_r = d.r / Side, threads_s = d.s / Side;
  long long t = blockIdx.x * 1LL * threads + threadIdx.x;
  const int channel = int(t % groups) * 8, count = min(d.c - channel, 8);
  t /= groups;
  const int s0 = int(t % threads_s) * Side;
  t /= threads_s;
  const int r0 = int(t % threads_r) * Side, slice = int(t / threads_r);
  if (slice >= plan.slices) return;
  const int first = slice * plan.slice_pixels, end = first + min(plan.slice_pixels, d.n * P * Q - first);

  Eight sum[Taps];
#pragma unroll
  for (int i = 0; i < Taps; ++i) sum[i].clear();
  int q = first % Q, p = first / Q % P, n = first / Q / P;
#pragma unroll 1
  for (int pixel = first; pixel < end; ++pixel) {
    Eight dy;
    load<Wide>(a.dy + 1LL * pixel * d.c + channel, count, dy);
#pragma unroll
    for (int r = 0; r < Side; ++r) {
      const int h = p * d.stride_h - d.pad_h + (r0 + r) * d.dilation_h;
      if (h < 0 || h >= d.h) continue;
      const float* const row = a.x + 1LL * (n * d.h + h) * d.w * d.c + channel;
#pragma unroll
      for (int s = 0; s < Side; ++s) {
        const int w = q * d.stride_w - d.pad_w + (s0 + s) * d.dilation_w;
        if (w < 0 || w >= d.w) continue;
        Eight x;
        load<Wide>(row + 1LL * w * d.c, count, x);
        sum[r * Side + s].multiply_add(dy, x);
      }
    }
    if (++q == Q) {
      q = 0;
      if (++p == P) p = 0, ++n;
    }
  }

  const bool alone = plan.slices == 1;
  float* const out = alone ? a.dw : a.workspace + 1LL * slice * d.c * d.r * d.s;
#pragma unroll
  for (int i = 0; i < Taps; ++i) {
    float v[8];
    sum[i].to_array(v);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      if (j >= count) break;
      float& to = out[(1LL * (channel + j) * d.r + r0 + i / Side) * d.s + s0 + i % Side];
      to = alone && a.accumulate ? to + v[j] : v[j];
    }
  }
}

template <int Side>
void launch_wgrad(const Conv2dWgrad& a, const DepthwisePlan& plan, Stream stream) {
  const Conv2dShape& d = a.shape;
  const long long all = 1LL * plan.slices * (d.r / Side) * (d.s / Side) * ((d.c + 7) / 8);
  const dim3 grid = grid_of("depthwise weight gradient", blocks_for(all, threads));
  if (d.c % 8 == 0 && aligned({a.x, a.dy}, 16)) {
    launch<wgrad<Side, true>>(grid, threads, 0, stream)(a, plan);
  } else {
    launch<wgrad<Side, false>>(grid, threads, 0, stream)(a, plan);
  }
}

}  // namespace

void conv2d_wgrad_depthwise(const Conv2dWgrad& a, Stream stream) {
  if (!is_depthwise(a.shape)) {
    return select_dense_wgrad(a.shape) == ConvVariant::tiled ? conv2d_wgrad_tiled(a, stream)
                                                             : conv2d_wgrad_direct(a, stream);
  }
  const DepthwisePlan plan = plan_depthwise_wgrad(a.shape);
  if (a.shape.r == 3 && a.shape.s == 3) {
    launch_wgrad<3>(a, plan, stream);
  } else {
    launch_wgrad<1>(a, plan, stream);
  }
  if (plan.slices > 1) conv2d_wgrad_add_slices(a, plan.slices, stream);
}

}  // namespace retrace::kernels::RETRACE_TARGET
