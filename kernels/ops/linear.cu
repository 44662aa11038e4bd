// Fully connected layers:
//   linear_fprop  y = relu(alpha · part(x) wᵀ + bias + residual), with the bits of the ReLU
//   linear_dgrad  dx = mask ⊙ (alpha · part(multiply) ⊙ (load(dy) w) + pending)
//
// Shapes: x, dx [n, c]; w [k, c]; y, dy [n, k]; row-major float32; accumulation in float32.
//
// Launch, fprop: one warp per 8 outputs and I images (I = 1, or 4 from a batch of 4 on), 4 warps per block.
// The lanes stride over c, so rows of w are read as whole lines and each value serves I images; warp_sums()
// then shares the 8 · I sums out. 8 outputs make one mask byte, so a warp owns the bytes it writes. Launch,
// dgrad: one block per 64 channels and I images; 8 warps share the k outputs (warp i takes i, i + 8, …), each
// lane sums for 2 channels, a shared array adds up the warps' parts in order.
// Neither the order of summation nor its rounding depends on n or I: a batch gives the bits of the singles.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int warp_outputs = 8;
constexpr int fprop_warps = 4;
constexpr int dgrad_warps = 8;
constexpr int dgrad_channels = 64;

template <int I>
__global__ void __launch_bounds__(32 * fprop_warps) fprop(LinearFprop a) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int k0 = int(blockIdx.x * fprop_warps + warp) * warp_outputs;
  if (k0 >= a.k) return;  // the whole warp
  const int n0 = int(blockIdx.y) * I;
  float sums[I * warp_outputs] = {};
  for (int ch = lane; ch < a.c; ch += 32) {
    float w[warp_outputs];
#pragma unroll
    for (int j = 0; j < warp_outputs; ++j) w[j] = k0 + j < a.k ? a.w[1LL * (k0 + j) * a.c + ch] : 0.0f;
#pragma unroll
    for (int i = 0; i < I; ++i) {
      if (I > 1 && n0 + i >= a.n) break;
      const float x = part_of(a.part, a.x[1LL * (n0 + i) * a.c + ch]);
#pragma unroll
      for (int j = 0; j < warp_outputs; ++j) {
        sums[i * warp_outputs + j] = multiply_add(x, w[j], sums[i * warp_outputs + j]);
      }
    }
  }
  float y = warp_sums<I * warp_outputs>(sums, lane);
  constexpr int lanes_per_sum = 32 / (I * warp_outputs);
  const int n = n0 + lane / lanes_per_sum / warp_outputs;
  const int k = k0 + lane / lanes_per_sum % warp_outputs;
  // One lane of each sum writes it; only that one reads the residual, which may be y.
  const bool writes = n < a.n && k < a.k && lane % lanes_per_sum == 0;
  if (writes) {
    y = multiply_add(a.alpha, y, a.bias ? a.bias[k] : 0.0f);
    if (a.residual) y += a.residual[1LL * n * a.k + k];
  }
  if (a.relu_mask) {
    // Bit j of an image's byte is the ballot of the lane j · lanes_per_sum behind the one that writes it.
    const unsigned ballot = __ballot_sync(0xffffffffu, writes && y > 0.0f);
    if (writes && k == k0) {
      unsigned bits = 0;
#pragma unroll
      for (int j = 0; j < warp_outputs; ++j) bits |= (ballot >> (lane + j * lanes_per_sum) & 1) << j;
      a.relu_mask[1LL * n * ((a.k + 7) / 8) + k0 / 8] = std::uint8_t(bits);
    }
  }
  if (writes) a.y[1LL * n * a.k + k] = a.relu && y < 0.0f ? 0.0f : y;
}

template <int I>
__global__ void __launch_bounds__(32 * dgrad_warps) dgrad(LinearDgrad a) {
  SHARED(float, sums, I* dgrad_warps* dgrad_channels);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int c0 = int(blockIdx.x) * dgrad_channels;
  const int low = c0 + lane, high = c0 + lane + 32;
  const int n0 = int(blockIdx.y) * I;
  float own[I][2] = {};
#pragma unroll 4
  for (int k = warp; k < a.k; k += dgrad_warps) {
    const float w_low = low < a.c ? a.w[1LL * k * a.c + low] : 0.0f;
    const float w_high = high < a.c ? a.w[1LL * k * a.c + high] : 0.0f;
#pragma unroll
    for (int i = 0; i < I; ++i) {
      if (I > 1 && n0 + i >= a.n) break;
      const float s = load_signal(a.dy, 1LL * (n0 + i) * a.k + k);
      own[i][0] = multiply_add(s, w_low, own[i][0]);
      own[i][1] = multiply_add(s, w_high, own[i][1]);
    }
  }
#pragma unroll
  for (int i = 0; i < I; ++i) {
    sums[(i * dgrad_warps + warp) * dgrad_channels + lane] = own[i][0];
    sums[(i * dgrad_warps + warp) * dgrad_channels + lane + 32] = own[i][1];
  }
  __syncthreads();
  for (int t = int(threadIdx.x); t < I * dgrad_channels; t += 32 * dgrad_warps) {
    const int i = t / dgrad_channels, ch = c0 + t % dgrad_channels;
    if (n0 + i >= a.n || ch >= a.c) continue;
    float dx = 0.0f;
#pragma unroll
    for (int part = 0; part < dgrad_warps; ++part) {
      dx += sums[(i * dgrad_warps + part) * dgrad_channels + t % dgrad_channels];
    }
    const long long at = 1LL * (n0 + i) * a.c + ch;
    const float factor = a.multiply ? a.alpha * part_of(a.part, a.multiply[at]) : a.alpha;
    dx = multiply_add(factor, dx, a.epilogue.pending ? a.epilogue.pending[at] : 0.0f);
    a.dx[at] = finish_signal({nullptr, a.epilogue.mask}, dx, n0 + i, ch, a.c);
  }
}

struct Bytes {
  long long x, w, y;
};
Bytes check_shape(const char* launcher, int n, int c, int k) {
  check_positive(launcher, "n", n);
  check_positive(launcher, "c", c);
  check_positive(launcher, "k", k);
  return {4 * checked_elements(launcher, "x", {n, c}), 4 * checked_elements(launcher, "w", {k, c}),
          4 * checked_elements(launcher, "y", {n, k})};
}

}  // namespace

void linear_fprop(const LinearFprop& a, Stream stream) {
  const Bytes bytes = check_shape("linear_fprop", a.n, a.c, a.k);
  check_pointer("linear_fprop", "x", a.x);
  check_pointer("linear_fprop", "w", a.w);
  check_pointer("linear_fprop", "y", a.y);
  if (a.relu_mask && !a.relu) refuse("linear_fprop", "relu_mask", "given without relu", "null");
  const Operand x{"x", a.x, bytes.x}, w{"w", a.w, bytes.w}, bias{"bias", a.bias, 4LL * a.k};
  const Operand residual{"residual", a.residual, bytes.y}, y{"y", a.y, bytes.y};
  const Operand mask{"relu_mask", a.relu_mask, 1LL * a.n * mask_pitch(a.k)};
  for (const Operand& in : {x, w, bias}) check_apart("linear_fprop", y, in);
  check_same_or_apart("linear_fprop", y, residual);
  for (const Operand& other : {x, w, bias, residual, y}) check_apart("linear_fprop", mask, other);
  const long long blocks = blocks_for(a.k, warp_outputs * fprop_warps);
  if (a.n < 4) {
    launch<fprop<1>>(grid_of("linear_fprop", blocks, a.n), 32 * fprop_warps, 0, stream)(a);
  } else {
    launch<fprop<4>>(grid_of("linear_fprop", blocks, blocks_for(a.n, 4)), 32 * fprop_warps, 0, stream)(a);
  }
}

void linear_dgrad(const LinearDgrad& a, Stream stream) {
  const Bytes bytes = check_shape("linear_dgrad", a.n, a.c, a.k);
  check_pointer("linear_dgrad", "w", a.w);
  check_pointer("linear_dgrad", "dx", a.dx);
  const Operand dx{"dx", a.dx, bytes.x};
  check_load("linear_dgrad", a.dy, dx, bytes.y / 4);
  check_apart("linear_dgrad", dx, {"w", a.w, bytes.w});
  check_same_or_apart("linear_dgrad", dx, {"multiply", a.multiply, bytes.x});
  check_epilogue("linear_dgrad", a.epilogue, dx, a.n, a.c);
  const long long blocks = blocks_for(a.c, dgrad_channels);
  if (a.n < 4) {
    launch<dgrad<1>>(grid_of("linear_dgrad", blocks, a.n), 32 * dgrad_warps, 0, stream)(a);
  } else {
    launch<dgrad<4>>(grid_of("linear_dgrad", blocks, blocks_for(a.n, 4)), 32 * dgrad_warps, 0, stream)(a);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
