// Average pooling to a given size, PyTorch's AdaptiveAvgPool2d:
//   adaptive_avg_pool_fprop     y[i, j] = Σ x over rows ⌊i h / p⌋ … ⌈(i + 1) h / p⌉ − 1 and columns likewise / their number
//   adaptive_avg_pool_backward  dx = mask ⊙ (Σ of dy / number over the windows that hold this input + pending)
// A row r lies in windows ⌊r p / h⌋ … ⌈(r + 1) p / h⌉ − 1: the same formula with the sizes exchanged.
//
// Shapes: x, dx [n, h, w, c]; y, dy [n, p, q, c]; NHWC float32.
//
// Launch: one row of blocks per row of the result; each thread makes V neighbouring channels of one position (V = 4
// where c is a multiple of 4 and the arrays are 16-byte aligned, else 1). Backward, too, gathers: a thread adds what its
// windows send in row order, without atomics.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

struct Geometry {
  int h, w, c, p, q;
};

// Where a thread stands: position (row, column) of image n in an array of `columns` columns, channel ch.
struct Place {
  int n, row, column, ch;
  long long pixel;
};
template <int V>
__device__ __forceinline__ bool place_of(int rows, int columns, int c, Place& at) {
  const int per_pixel = c / V;
  const int t = int(blockIdx.y * blockDim.x + threadIdx.x);
  if (t >= columns * per_pixel) return false;
  at.n = int(blockIdx.x) / rows;
  at.row = int(blockIdx.x) - at.n * rows;
  at.column = t / per_pixel;
  at.ch = (t - at.column * per_pixel) * V;
  at.pixel = blockIdx.x * 1LL * columns + at.column;
  return true;
}

// ⌊i · from / to⌋ … ⌈(i + 1) · from / to⌉: of `to` windows over `from` positions, the positions that window i covers.
struct Range {
  int begin, end;
};
__device__ __forceinline__ Range range_of(int i, int from, int to) {
  return {int(unsigned(i) * unsigned(from) / unsigned(to)),
          int((unsigned(i + 1) * unsigned(from) + unsigned(to - 1)) / unsigned(to))};
}

template <int V>
__global__ void __launch_bounds__(256) fprop(Geometry g, const float* x, float* y) {
  Place at;
  if (!place_of<V>(g.p, g.q, g.c, at)) return;
  const Range rows = range_of(at.row, g.h, g.p), columns = range_of(at.column, g.w, g.q);
  float sum[V] = {};
  for (int h = rows.begin; h < rows.end; ++h) {
    const float* const row = x + (1LL * at.n * g.h + h) * g.w * g.c + at.ch;
    for (int w = columns.begin; w < columns.end; ++w) {
      float value[V];
      load_wide<V>(row + 1LL * w * g.c, value);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += value[j];
    }
  }
  const float number = float(rows.end - rows.begin) * float(columns.end - columns.begin);
#pragma unroll
  for (int j = 0; j < V; ++j) sum[j] /= number;
  store_wide<V>(y + at.pixel * g.c + at.ch, sum);
}

template <int V>
__global__ void __launch_bounds__(256) backward(Geometry g, const float* dy, SignalEpilogue e, float* dx) {
  Place at;
  if (!place_of<V>(g.h, g.w, g.c, at)) return;
  const Range ps = range_of(at.row, g.p, g.h), qs = range_of(at.column, g.q, g.w);
  float own[V] = {};
  for (int p = ps.begin; p < ps.end; ++p) {
    const Range rows = range_of(p, g.h, g.p);
    const float* const row = dy + (1LL * at.n * g.p + p) * g.q * g.c + at.ch;
#pragma unroll 1  // unrolled, the divisions would spill registers
    for (int q = qs.begin; q < qs.end; ++q) {
      const Range columns = range_of(q, g.w, g.q);
      // One division per window, not one per value.
      const float share = 1.0f / (float(rows.end - rows.begin) * float(columns.end - columns.begin));
      float signal[V];
      load_wide<V>(row + 1LL * q * g.c, signal);
#pragma unroll
      for (int j = 0; j < V; ++j) own[j] = multiply_add(signal[j], share, own[j]);
    }
  }
  finish_and_store<V>(e, own, dx, at.pixel, at.ch, g.c);
}

struct Sizes {
  long long x, y;  // bytes
};
template <class Arguments>
Sizes check_sizes(const char* launcher, const Arguments& a) {
  check_positive(launcher, "n", a.n);
  check_positive(launcher, "h", a.h);
  check_positive(launcher, "w", a.w);
  check_positive(launcher, "c", a.c);
  check_positive(launcher, "p", a.p);
  check_positive(launcher, "q", a.q);
  // A window's ends are worked out in 32 bits.
  const auto check_axis = [&](const char* axis, long long from, long long to) {
    if ((from + 1) * (to + 1) > 0x7fffffffLL) {
      refuse(launcher, axis, std::to_string(from) + " x " + std::to_string(to), "less than 2^31");
    }
  };
  check_axis("h x p", a.h, a.p);
  check_axis("w x q", a.w, a.q);
  return {4 * checked_elements(launcher, "the image", {a.n, a.h, a.w, a.c}),
          4 * checked_elements(launcher, "the pooled image", {a.n, a.p, a.q, a.c})};
}

}  // namespace

void adaptive_avg_pool_fprop(const AdaptiveAvgPoolFprop& a, Stream stream) {
  constexpr const char* name = "adaptive_avg_pool_fprop";
  const Sizes bytes = check_sizes(name, a);
  check_pointer(name, "x", a.x);
  check_pointer(name, "y", a.y);
  check_apart(name, {"y", a.y, bytes.y}, {"x", a.x, bytes.x});
  const Geometry g{a.h, a.w, a.c, a.p, a.q};
  const bool wide = a.c % 4 == 0 && aligned({a.x, a.y}, 16);
  const RowLaunch rows = by_rows(name, 1LL * a.n * a.p, 1LL * a.q * (wide ? a.c / 4 : a.c));
  if (wide) {
    launch<fprop<4>>(rows.grid, rows.block, 0, stream)(g, a.x, a.y);
  } else {
    launch<fprop<1>>(rows.grid, rows.block, 0, stream)(g, a.x, a.y);
  }
}

void adaptive_avg_pool_backward(const AdaptiveAvgPoolBackward& a, Stream stream) {
  constexpr const char* name = "adaptive_avg_pool_backward";
  const Sizes bytes = check_sizes(name, a);
  check_pointer(name, "dy", a.dy);
  check_pointer(name, "dx", a.dx);
  const Operand dx{"dx", a.dx, bytes.x};
  check_apart(name, dx, {"dy", a.dy, bytes.y});
  check_epilogue(name, a.epilogue, dx, 1LL * a.n * a.h * a.w, a.c);
  const Geometry g{a.h, a.w, a.c, a.p, a.q};
  const bool wide = a.c % 4 == 0 && aligned({a.dy, a.epilogue.pending, a.dx}, 16);
  const RowLaunch rows = by_rows(name, 1LL * a.n * a.h, 1LL * a.w * (wide ? a.c / 4 : a.c));
  if (wide) {
    launch<backward<4>>(rows.grid, rows.block, 0, stream)(g, a.dy, a.epilogue, a.dx);
  } else {
    launch<backward<1>>(rows.grid, rows.block, 0, stream)(g, a.dy, a.epilogue, a.dx);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
