// Pooling over windows, PyTorch's semantics (MaxPool2d, AvgPool2d without dilation):
//   max_pool_fprop     y = the largest of the window, argmax = h · W + w of the first such position in row
//   order;
//                      a NaN wins over everything, of several NaNs the last
//   max_pool_backward  dx = mask ⊙ (Σ of dy over the windows this input won + pending)
//   avg_pool_fprop     y = Σ window / divisor
//   avg_pool_backward  dx = mask ⊙ (Σ over the windows holding this input of dy / divisor + pending)
// divisor: the window's positions inside the padded input (count_include_pad), or inside the input.
//   global_avg_pool_*  the same with one window, the whole image
//
// Shapes: x, dx [n, h, w, c]; y, dy, argmax [n, p, q, c] ([n, c] for global); NHWC, float32 and int32.
//
// Launch: one row of blocks per row of the result; each thread makes V neighbouring channels of one position
// (V = 4 where c is a multiple of 4 and the arrays are 16-byte aligned, else 1), so warps read and write
// whole lines. Backward, too, gathers: a thread adds what its windows send in row order, without atomics.
// global_fprop runs one block per image and 32 channels, a thread per channel and warp; the warps share the
// pixels and a shared array adds up what they found. How many warps depends on the image's size alone, so a
// batch gives the bits of the singles.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

// PoolShape with its output size, ready for the device.
struct Geometry {
  int h, w, c, p, q, r, s, stride_h, stride_w, pad_h, pad_w;
};

// The positions [begin, end) of an axis that window `i` covers, and its length inside the padded axis.
struct Window {
  int begin, end, padded;
};
__device__ __forceinline__ Window window_of(int i, int size, int length, int stride, int pad) {
  const int start = i * stride - pad;
  const int padded_end = start + length < size + pad ? start + length : size + pad;
  return {start > 0 ? start : 0, padded_end < size ? padded_end : size, padded_end - start};
}

// The windows [begin, end) of an axis that cover position `i`.
struct Windows {
  int begin, end;
};
__device__ __forceinline__ Windows windows_over(int i, int count, int length, int stride, int pad) {
  const int last = (i + pad) / stride;
  return {i + pad < length ? 0 : (i + pad - length) / stride + 1, last < count ? last + 1 : count};
}

// 1 / divisor: one division per window, not one per value.
__device__ __forceinline__ float share_of(const Window& v, const Window& u, bool count_include_pad) {
  return 1.0f / (count_include_pad ? float(v.padded) * float(u.padded)
                                   : float(v.end - v.begin) * float(u.end - u.begin));
}

template <int V>
__global__ void __launch_bounds__(256) max_fprop(Geometry g, const float* x, float* y, std::int32_t* argmax) {
  Place at;
  if (!place_of<V>(g.p, g.q, g.c, at)) return;
  const Window v = window_of(at.row, g.h, g.r, g.stride_h, g.pad_h);
  const Window u = window_of(at.column, g.w, g.s, g.stride_w, g.pad_w);
  float best[V];
  std::int32_t where[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    best[j] = -INFINITY;
    where[j] = v.begin * g.w + u.begin;  // a window of nothing but −infinity is won by its first position
  }
  for (int h = v.begin; h < v.end; ++h) {
    const long long row = (1LL * at.n * g.h + h) * g.w;
    for (int w = u.begin; w < u.end; ++w) {
      float value[V];
      load_wide<V>(x + (row + w) * g.c + at.ch, value);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        if (value[j] > best[j] || value[j] != value[j]) {
          best[j] = value[j];
          where[j] = h * g.w + w;
        }
      }
    }
  }
  store_wide<V>(y + at.pixel * g.c + at.ch, best);
  if (argmax) store_wide<V>(argmax + at.pixel * g.c + at.ch, where);
}

template <int V>
__global__ void __launch_bounds__(256)
    max_backward(Geometry g, const float* dy, const std::int32_t* argmax, SignalEpilogue e, float* dx) {
  Place at;
  if (!place_of<V>(g.h, g.w, g.c, at)) return;
  const int self = at.row * g.w + at.column;
  const Windows ps = windows_over(at.row, g.p, g.r, g.stride_h, g.pad_h);
  const Windows qs = windows_over(at.column, g.q, g.s, g.stride_w, g.pad_w);
  float own[V] = {};
  for (int p = ps.begin; p < ps.end; ++p) {
    const long long row = (1LL * at.n * g.p + p) * g.q;
    for (int q = qs.begin; q < qs.end; ++q) {
      const long long i = (row + q) * g.c + at.ch;
      std::int32_t winner[V];
      float signal[V];
      load_wide<V>(argmax + i, winner);
      load_wide<V>(dy + i, signal);
#pragma unroll
      for (int j = 0; j < V; ++j) own[j] += winner[j] == self ? signal[j] : 0.0f;
    }
  }
  finish_and_store<V>(e, own, dx, at.pixel, at.ch, g.c);
}

template <int V>
__global__ void __launch_bounds__(256)
    avg_fprop(Geometry g, bool count_include_pad, const float* x, float* y) {
  Place at;
  if (!place_of<V>(g.p, g.q, g.c, at)) return;
  const Window v = window_of(at.row, g.h, g.r, g.stride_h, g.pad_h);
  const Window u = window_of(at.column, g.w, g.s, g.stride_w, g.pad_w);
  const float share = share_of(v, u, count_include_pad);
  float sum[V] = {};
  for (int h = v.begin; h < v.end; ++h) {
    const long long row = (1LL * at.n * g.h + h) * g.w;
    for (int w = u.begin; w < u.end; ++w) {
      float value[V];
      load_wide<V>(x + (row + w) * g.c + at.ch, value);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += value[j];
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] *= share;
  store_wide<V>(y + at.pixel * g.c + at.ch, sum);
}

template <int V>
__global__ void __launch_bounds__(256)
    avg_backward(Geometry g, bool count_include_pad, const float* dy, SignalEpilogue e, float* dx) {
  Place at;
  if (!place_of<V>(g.h, g.w, g.c, at)) return;
  const Windows ps = windows_over(at.row, g.p, g.r, g.stride_h, g.pad_h);
  const Windows qs = windows_over(at.column, g.q, g.s, g.stride_w, g.pad_w);
  float own[V] = {};
  for (int p = ps.begin; p < ps.end; ++p) {
    const Window v = window_of(p, g.h, g.r, g.stride_h, g.pad_h);
    const long long row = (1LL * at.n * g.p + p) * g.q;
#pragma unroll 1  // unrolled, the divisions would spill registers
    for (int q = qs.begin; q < qs.end; ++q) {
      const Window u = window_of(q, g.w, g.s, g.stride_w, g.pad_w);
      const float share = share_of(v, u, count_include_pad);
      float signal[V];
      load_wide<V>(dy + (row + q) * g.c + at.ch, signal);
#pragma unroll
      for (int j = 0; j < V; ++j) own[j] += signal[j] * share;
    }
  }
  finish_and_store<V>(e, own, dx, at.pixel, at.ch, g.c);
}

template <int Warps>
__global__ void __launch_bounds__(32 * Warps)
    global_fprop(long long pixels, int c, const float* x, float* y) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int ch = int(blockIdx.y) * 32 + lane;
  const float* image = x + blockIdx.x * pixels * c;
  float sum = 0.0f;
  if (ch < c) {
#pragma unroll 8
    for (long long i = warp; i < pixels; i += Warps) sum += image[i * c + ch];
  }
  if constexpr (Warps > 1) {
    SHARED(float, sums, 32 * Warps);
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (warp > 0) return;
    for (int other = 1; other < Warps; ++other) sum += sums[other * 32 + lane];
  }
  if (ch < c) y[blockIdx.x * 1LL * c + ch] = sum / float(pixels);
}

template <int V>
__global__ void __launch_bounds__(256)
    global_backward(int h, int w, int c, const float* dy, SignalEpilogue e, float* dx) {
  Place at;
  if (!place_of<V>(h, w, c, at)) return;
  float own[V];
  load_wide<V>(dy + 1LL * at.n * c + at.ch, own);
  const float share = 1.0f / float(1LL * h * w);
#pragma unroll
  for (int j = 0; j < V; ++j) own[j] *= share;
  finish_and_store<V>(e, own, dx, at.pixel, at.ch, c);
}

Geometry geometry_of(const PoolShape& s) {
  return {s.h, s.w, s.c, s.p(), s.q(), s.r, s.s, s.stride_h, s.stride_w, s.pad_h, s.pad_w};
}

struct Sizes {
  long long x, y;  // bytes
};
Sizes check_shape(const PoolShape& s) {
  s.validate();
  return {4LL * s.n * s.h * s.w * s.c, 4LL * s.n * s.p() * s.q() * s.c};
}

RowLaunch over_outputs(const char* launcher, const PoolShape& s, int v) {
  return by_rows(launcher, 1LL * s.n * s.p(), 1LL * s.q() * (s.c / v));
}
Sizes check_image(const char* launcher, int n, int h, int w, int c) {
  check_positive(launcher, "n", n);
  check_positive(launcher, "h", h);
  check_positive(launcher, "w", w);
  check_positive(launcher, "c", c);
  return {4 * checked_elements(launcher, "the image", {n, h, w, c}), 4LL * n * c};
}
RowLaunch over_inputs(const char* launcher, const PoolShape& s, int v) {
  return by_rows(launcher, 1LL * s.n * s.h, 1LL * s.w * (s.c / v));
}

}  // namespace

void max_pool_fprop(const MaxPoolFprop& a, Stream stream) {
  const Sizes bytes = check_shape(a.shape);
  check_pointer("max_pool_fprop", "x", a.x);
  check_pointer("max_pool_fprop", "y", a.y);
  const Operand x{"x", a.x, bytes.x}, y{"y", a.y, bytes.y}, argmax{"argmax", a.argmax, bytes.y};
  check_apart("max_pool_fprop", y, x);
  check_apart("max_pool_fprop", argmax, x);
  check_apart("max_pool_fprop", argmax, y);
  const Geometry g = geometry_of(a.shape);
  if (a.shape.c % 4 == 0 && aligned({a.x, a.y, a.argmax}, 16)) {
    const RowLaunch rows = over_outputs("max_pool_fprop", a.shape, 4);
    launch<max_fprop<4>>(rows.grid, rows.block, 0, stream)(g, a.x, a.y, a.argmax);
  } else {
    const RowLaunch rows = over_outputs("max_pool_fprop", a.shape, 1);
    launch<max_fprop<1>>(rows.grid, rows.block, 0, stream)(g, a.x, a.y, a.argmax);
  }
}

void max_pool_backward(const MaxPoolBackward& a, Stream stream) {
  const Sizes bytes = check_shape(a.shape);
  check_pointer("max_pool_backward", "dy", a.dy);
  check_pointer("max_pool_backward", "argmax", a.argmax);
  check_pointer("max_pool_backward", "dx", a.dx);
  const Operand dx{"dx", a.dx, bytes.x};
  check_apart("max_pool_backward", dx, {"dy", a.dy, bytes.y});
  check_apart("max_pool_backward", dx, {"argmax", a.argmax, bytes.y});
  check_epilogue("max_pool_backward", a.epilogue, dx, 1LL * a.shape.n * a.shape.h * a.shape.w, a.shape.c);
  const Geometry g = geometry_of(a.shape);
  if (a.shape.c % 4 == 0 && aligned({a.dy, a.argmax, a.epilogue.pending, a.dx}, 16)) {
    const RowLaunch rows = over_inputs("max_pool_backward", a.shape, 4);
    launch<max_backward<4>>(rows.grid, rows.block, 0, stream)(g, a.dy, a.argmax, a.epilogue, a.dx);
  } else {
    const RowLaunch rows = over_inputs("max_pool_backward", a.shape, 1);
    launch<max_backward<1>>(rows.grid, rows.block, 0, stream)(g, a.dy, a.argmax, a.epilogue, a.dx);
  }
}

void avg_pool_fprop(const AvgPoolFprop& a, Stream stream) {
  const Sizes bytes = check_shape(a.shape);
  check_pointer("avg_pool_fprop", "x", a.x);
  check_pointer("avg_pool_fprop", "y", a.y);
  check_apart("avg_pool_fprop", {"y", a.y, bytes.y}, {"x", a.x, bytes.x});
  const Geometry g = geometry_of(a.shape);
  if (a.shape.c % 4 == 0 && aligned({a.x, a.y}, 16)) {
    const RowLaunch rows = over_outputs("avg_pool_fprop", a.shape, 4);
    launch<avg_fprop<4>>(rows.grid, rows.block, 0, stream)(g, a.count_include_pad, a.x, a.y);
  } else {
    const RowLaunch rows = over_outputs("avg_pool_fprop", a.shape, 1);
    launch<avg_fprop<1>>(rows.grid, rows.block, 0, stream)(g, a.count_include_pad, a.x, a.y);
  }
}

void avg_pool_backward(const AvgPoolBackward& a, Stream stream) {
  const Sizes bytes = check_shape(a.shape);
  check_pointer("avg_pool_backward", "dy", a.dy);
  check_pointer("avg_pool_backward", "dx", a.dx);
  const Operand dx{"dx", a.dx, bytes.x};
  check_apart("avg_pool_backward", dx, {"dy", a.dy, bytes.y});
  check_epilogue("avg_pool_backward", a.epilogue, dx, 1LL * a.shape.n * a.shape.h * a.shape.w, a.shape.c);
  const Geometry g = geometry_of(a.shape);
  if (a.shape.c % 4 == 0 && aligned({a.dy, a.epilogue.pending, a.dx}, 16)) {
    const RowLaunch rows = over_inputs("avg_pool_backward", a.shape, 4);
    launch<avg_backward<4>>(rows.grid, rows.block, 0, stream)(g, a.count_include_pad, a.dy, a.epilogue, a.dx);
  } else {
    const RowLaunch rows = over_inputs("avg_pool_backward", a.shape, 1);
    launch<avg_backward<1>>(rows.grid, rows.block, 0, stream)(g, a.count_include_pad, a.dy, a.epilogue, a.dx);
  }
}

void global_avg_pool_fprop(const GlobalAvgPoolFprop& a, Stream stream) {
  const Sizes bytes = check_image("global_avg_pool_fprop", a.n, a.h, a.w, a.c);
  check_pointer("global_avg_pool_fprop", "x", a.x);
  check_pointer("global_avg_pool_fprop", "y", a.y);
  check_apart("global_avg_pool_fprop", {"y", a.y, bytes.y}, {"x", a.x, bytes.x});
  const long long pixels = 1LL * a.h * a.w;
  const dim3 grid = grid_of("global_avg_pool_fprop", a.n, blocks_for(a.c, 32));
  if (pixels <= 64) {
    launch<global_fprop<1>>(grid, 32, 0, stream)(pixels, a.c, a.x, a.y);
  } else {
    launch<global_fprop<8>>(grid, 256, 0, stream)(pixels, a.c, a.x, a.y);
  }
}

void global_avg_pool_backward(const GlobalAvgPoolBackward& a, Stream stream) {
  const Sizes bytes = check_image("global_avg_pool_backward", a.n, a.h, a.w, a.c);
  check_pointer("global_avg_pool_backward", "dy", a.dy);
  check_pointer("global_avg_pool_backward", "dx", a.dx);
  const Operand dx{"dx", a.dx, bytes.x};
  check_apart("global_avg_pool_backward", dx, {"dy", a.dy, bytes.y});
  check_epilogue("global_avg_pool_backward", a.epilogue, dx, 1LL * a.n * a.h * a.w, a.c);
  const bool wide = a.c % 4 == 0 && aligned({a.dy, a.epilogue.pending, a.dx}, 16);
  const RowLaunch rows =
      by_rows("global_avg_pool_backward", 1LL * a.n * a.h, 1LL * a.w * (wide ? a.c / 4 : a.c));
  if (wide) {
    launch<global_backward<4>>(rows.grid, rows.block, 0, stream)(a.h, a.w, a.c, a.dy, a.epilogue, a.dx);
  } else {
    launch<global_backward<1>>(rows.grid, rows.block, 0, stream)(a.h, a.w, a.c, a.dy, a.epilogue, a.dx);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
