// ReLU and sums:
//   relu_fprop     y = min(max(x, 0), ceiling), and one bit per value: 0 < x < ceiling. Ceiling 6 is ReLU6 (Howard et al.
//                  2017; Sandler et al. 2018); an infinite one is none, and a mask's bit is x > 0
//   add_fprop      y = a + b or max(a + b, 0), and the bits of the latter
//   relu_backward  dx = mask ⊙ (dy + pending)
// max(x, 0) is `x < 0 ? 0 : x`, and min(x, ceiling) likewise, so NaN stays NaN, as in PyTorch; its mask bit is 0. So is
// the ceiling's own: PyTorch's hardtanh passes no gradient there.
//
// Shapes: [pixels, c] float32, mask [pixels, mask_pitch(c)] bytes.
//
// Launch: one thread per 8 channels of one pixel, blocks of 256; a thread owns a whole mask byte, so no byte
// is written twice. Where c is a multiple of 4 and the arrays are 16-byte aligned a thread moves them as
// float4.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256;

// The 8 channels of one thread.
struct Span {
  long long pixel;
  int group;    // which byte of the pixel's mask
  int count;    // channels, 8 but for the last group
  long long i;  // index of the first value
};

__device__ __forceinline__ bool span_of(int pixels, int c, Span& span) {
  const int groups = (c + 7) / 8;
  const long long t = blockIdx.x * 1LL * threads + threadIdx.x;
  if (t >= 1LL * pixels * groups) return false;
  split_index(t, groups, span.pixel, span.group);
  span.count = c - span.group * 8 < 8 ? c - span.group * 8 : 8;
  span.i = span.pixel * c + span.group * 8;
  return true;
}

// A null b adds nothing.
template <bool Wide>
__global__ void __launch_bounds__(threads) add_relu(int pixels, int c, const float* a, const float* b,
                                                    bool relu, float ceiling, float* y, std::uint8_t* mask) {
  Span span;
  if (!span_of(pixels, c, span)) return;
  float v[8];
  load_eight<Wide>(a + span.i, span.count, v);
  if (b) {
    float other[8];
    load_eight<Wide>(b + span.i, span.count, other);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] += other[j];
  }
  if (relu) {
    const bool open = ceiling == INFINITY;  // an infinite x is below that
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      bits |= unsigned(v[j] > 0.0f && (open || v[j] < ceiling)) << j;
      v[j] = v[j] < 0.0f ? 0.0f : v[j] > ceiling ? ceiling : v[j];
    }
    if (mask) mask[span.pixel * ((c + 7) / 8) + span.group] = std::uint8_t(bits);
  }
  store_eight<Wide>(y + span.i, span.count, v);
}

template <bool Wide>
__global__ void __launch_bounds__(threads)
    gate(int pixels, int c, const float* dy, SignalEpilogue e, float* dx) {
  Span span;
  if (!span_of(pixels, c, span)) return;
  float v[8];
  load_eight<Wide>(dy + span.i, span.count, v);
  if (e.pending) {
    float pending[8];
    load_eight<Wide>(e.pending + span.i, span.count, pending);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] += pending[j];
  }
  const unsigned bits = e.mask[span.pixel * ((c + 7) / 8) + span.group];
#pragma unroll
  for (int j = 0; j < 8; ++j) v[j] = bits >> j & 1 ? v[j] : 0.0f;
  store_eight<Wide>(dx + span.i, span.count, v);
}

dim3 grid_for(const char* launcher, int pixels, int c) {
  return grid_of(launcher, blocks_for(1LL * pixels * mask_pitch(c), threads));
}

void launch_add(const char* launcher, int pixels, int c, const float* a, const float* b, bool relu,
                float ceiling, float* y, std::uint8_t* mask, Stream stream) {
  const dim3 grid = grid_for(launcher, pixels, c);
  if (c % 4 == 0 && aligned({a, b, y}, 16)) {
    launch<add_relu<true>>(grid, threads, 0, stream)(pixels, c, a, b, relu, ceiling, y, mask);
  } else {
    launch<add_relu<false>>(grid, threads, 0, stream)(pixels, c, a, b, relu, ceiling, y, mask);
  }
}

// The bytes of [pixels, c] floats.
long long check_shape(const char* launcher, int pixels, int c) {
  check_positive(launcher, "pixels", pixels);
  check_positive(launcher, "c", c);
  return checked_elements(launcher, "the array", {pixels, c}) * 4;
}

}  // namespace

void relu_fprop(const ReluFprop& a, Stream stream) {
  const long long bytes = check_shape("relu_fprop", a.pixels, a.c);
  check_pointer("relu_fprop", "x", a.x);
  check_pointer("relu_fprop", "y", a.y);
  if (!(a.ceiling > 0)) refuse("relu_fprop", "ceiling", std::to_string(a.ceiling), "more than 0");
  const Operand mask{"relu_mask", a.relu_mask, 1LL * a.pixels * mask_pitch(a.c)};
  check_same_or_apart("relu_fprop", {"y", a.y, bytes}, {"x", a.x, bytes});
  check_apart("relu_fprop", mask, {"x", a.x, bytes});
  check_apart("relu_fprop", mask, {"y", a.y, bytes});
  launch_add("relu_fprop", a.pixels, a.c, a.x, nullptr, true, a.ceiling, a.y, a.relu_mask, stream);
}

void add_fprop(const AddFprop& a, Stream stream) {
  const long long bytes = check_shape("add_fprop", a.pixels, a.c);
  check_pointer("add_fprop", "a", a.a);
  check_pointer("add_fprop", "b", a.b);
  check_pointer("add_fprop", "y", a.y);
  if (a.relu_mask && !a.relu) refuse("add_fprop", "relu_mask", "given without relu", "null");
  const Operand mask{"relu_mask", a.relu_mask, 1LL * a.pixels * mask_pitch(a.c)};
  check_same_or_apart("add_fprop", {"y", a.y, bytes}, {"a", a.a, bytes});
  check_same_or_apart("add_fprop", {"y", a.y, bytes}, {"b", a.b, bytes});
  check_apart("add_fprop", mask, {"a", a.a, bytes});
  check_apart("add_fprop", mask, {"b", a.b, bytes});
  check_apart("add_fprop", mask, {"y", a.y, bytes});
  launch_add("add_fprop", a.pixels, a.c, a.a, a.b, a.relu, INFINITY, a.y, a.relu_mask, stream);
}

void relu_backward(const ReluBackward& a, Stream stream) {
  const long long bytes = check_shape("relu_backward", a.pixels, a.c);
  check_pointer("relu_backward", "dy", a.dy);
  check_pointer("relu_backward", "dx", a.dx);
  check_pointer("relu_backward", "epilogue.mask", a.epilogue.mask);
  const Operand dx{"dx", a.dx, bytes};
  check_same_or_apart("relu_backward", dx, {"dy", a.dy, bytes});
  check_epilogue("relu_backward", a.epilogue, dx, a.pixels, a.c);
  const dim3 grid = grid_for("relu_backward", a.pixels, a.c);
  if (a.c % 4 == 0 && aligned({a.dy, a.epilogue.pending, a.dx}, 16)) {
    launch<gate<true>>(grid, threads, 0, stream)(a.pixels, a.c, a.dy, a.epilogue, a.dx);
  } else {
    launch<gate<false>>(grid, threads, 0, stream)(a.pixels, a.c, a.dy, a.epilogue, a.dx);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
