// Channels side by side, one array at a time (Iandola et al. 2016; Huang et al. 2017):
//   concat_fprop     y[pixel, offset + i] = x[pixel, i]
//   concat_backward  dx[pixel, i] = mask ⊙ (dy[pixel, offset + i] + pending)
//
// Shapes: x, dx [pixels, c]; y, dy [pixels, total]; float32.
//
// Launch: one thread per 8 channels of one pixel of x, blocks of 256, so that a thread of the backward pass needs one
// byte of the mask. Where c, total and offset are multiples of 4 and the arrays are 16-byte aligned a thread moves them
// as float4.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256;

struct Parts {
  int pixels, c, total, offset;
};

// The 8 channels of one thread: how many there are, and where.
struct Span {
  long long pixel, part, whole;  // indices of the first in x and in y
  int group, count;
};
__device__ __forceinline__ bool span_of(const Parts& a, Span& span) {
  const int groups = (a.c + 7) / 8;
  const long long t = blockIdx.x * 1LL * threads + threadIdx.x;
  if (t >= 1LL * a.pixels * groups) return false;
  split_index(t, groups, span.pixel, span.group);
  const int channel = span.group * 8;
  span.count = a.c - channel < 8 ? a.c - channel : 8;
  span.part = span.pixel * a.c + channel;
  span.whole = span.pixel * a.total + a.offset + channel;
  return true;
}

template <bool Wide>
__global__ void __launch_bounds__(threads) fprop(Parts a, const float* x, float* y) {
  Span span;
  if (!span_of(a, span)) return;
  float v[8];
  load_eight<Wide>(x + span.part, span.count, v);
  store_eight<Wide>(y + span.whole, span.count, v);
}

template <bool Wide>
__global__ void __launch_bounds__(threads) backward(Parts a, const float* dy, SignalEpilogue e, float* dx) {
  Span span;
  if (!span_of(a, span)) return;
  float v[8];
  load_eight<Wide>(dy + span.whole, span.count, v);
  if (e.pending) {
    float pending[8];
    load_eight<Wide>(e.pending + span.part, span.count, pending);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] += pending[j];
  }
  if (e.mask) {
    const unsigned bits = e.mask[span.pixel * ((a.c + 7) / 8) + span.group];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = bits >> j & 1 ? v[j] : 0.0f;
  }
  store_eight<Wide>(dx + span.part, span.count, v);
}

struct Sizes {
  long long part, whole;  // bytes
};
template <class Arguments>
Sizes check_parts(const char* launcher, const Arguments& a) {
  check_positive(launcher, "pixels", a.pixels);
  check_positive(launcher, "c", a.c);
  check_positive(launcher, "total", a.total);
  if (a.offset < 0 || a.offset > a.total - a.c) {
    refuse(launcher, "offset", std::to_string(a.offset),
           "0 or more, and offset + c = " + std::to_string(1LL * a.offset + a.c) +
               " at most total = " + std::to_string(a.total));
  }
  return {4 * checked_elements(launcher, "the part", {a.pixels, a.c}),
          4 * checked_elements(launcher, "the whole", {a.pixels, a.total})};
}
template <class Arguments>
bool by_fours(const Arguments& a) {
  return a.c % 4 == 0 && a.total % 4 == 0 && a.offset % 4 == 0;
}
dim3 grid_for(const char* launcher, int pixels, int c) {
  return grid_of(launcher, blocks_for(1LL * pixels * mask_pitch(c), threads));
}

}  // namespace

void concat_fprop(const ConcatFprop& a, Stream stream) {
  const Sizes bytes = check_parts("concat_fprop", a);
  check_pointer("concat_fprop", "x", a.x);
  check_pointer("concat_fprop", "y", a.y);
  check_apart("concat_fprop", {"y", a.y, bytes.whole}, {"x", a.x, bytes.part});
  const Parts parts{a.pixels, a.c, a.total, a.offset};
  const dim3 grid = grid_for("concat_fprop", a.pixels, a.c);
  if (by_fours(a) && aligned({a.x, a.y}, 16)) {
    launch<fprop<true>>(grid, threads, 0, stream)(parts, a.x, a.y);
  } else {
    launch<fprop<false>>(grid, threads, 0, stream)(parts, a.x, a.y);
  }
}

void concat_backward(const ConcatBackward& a, Stream stream) {
  const Sizes bytes = check_parts("concat_backward", a);
  check_pointer("concat_backward", "dy", a.dy);
  check_pointer("concat_backward", "dx", a.dx);
  const Operand dx{"dx", a.dx, bytes.part};
  check_apart("concat_backward", dx, {"dy", a.dy, bytes.whole});
  check_epilogue("concat_backward", a.epilogue, dx, a.pixels, a.c);
  const Parts parts{a.pixels, a.c, a.total, a.offset};
  const dim3 grid = grid_for("concat_backward", a.pixels, a.c);
  if (by_fours(a) && aligned({a.dy, a.epilogue.pending, a.dx}, 16)) {
    launch<backward<true>>(grid, threads, 0, stream)(parts, a.dy, a.epilogue, a.dx);
  } else {
    launch<backward<false>>(grid, threads, 0, stream)(parts, a.dy, a.epilogue, a.dx);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
