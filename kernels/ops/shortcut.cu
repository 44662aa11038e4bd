// Shortcut without parameters (He et al. 2016, section 4.2, option A): every stride-th pixel, channels padded
// with zeros on both sides.
//   shortcut_fprop     y[n, p, q, pad + i] = x[n, p · stride, q · stride, i], 0 elsewhere
//   shortcut_backward  dx = mask ⊙ (dy at the pixel and channel that x went to, 0 where it went nowhere, +
//   pending)
// pad = (k − c) / 2 rounded down, p = ⌈h / stride⌉.
//
// Shapes: x, dx [n, h, w, c]; y, dy [n, p, q, k]; NHWC float32.
//
// Launch: one thread per value of the result, neighbours in a row of the image; one row of blocks per image
// row.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

struct Geometry {
  int h, w, c, p, q, k, stride, pad;
};

__global__ void __launch_bounds__(256) fprop(Geometry g, const float* x, float* y) {
  const int t = int(blockIdx.y * blockDim.x + threadIdx.x);
  if (t >= g.q * g.k) return;
  const int image = int(blockIdx.x) / g.p, p = int(blockIdx.x) - image * g.p;
  const int q = t / g.k, ch = t - q * g.k - g.pad;
  const bool inside = ch >= 0 && ch < g.c;
  const long long pixel = (1LL * image * g.h + p * g.stride) * g.w + q * g.stride;
  y[blockIdx.x * 1LL * g.q * g.k + t] = inside ? x[pixel * g.c + ch] : 0.0f;
}

__global__ void __launch_bounds__(256) backward(Geometry g, const float* dy, SignalEpilogue e, float* dx) {
  const int t = int(blockIdx.y * blockDim.x + threadIdx.x);
  if (t >= g.w * g.c) return;
  const int image = int(blockIdx.x) / g.h, h = int(blockIdx.x) - image * g.h;
  const int w = t / g.c, ch = t - w * g.c;
  float own = 0.0f;
  if (h % g.stride == 0 && w % g.stride == 0) {
    own = dy[((1LL * image * g.p + h / g.stride) * g.q + w / g.stride) * g.k + g.pad + ch];
  }
  const long long pixel = blockIdx.x * 1LL * g.w + w;
  dx[pixel * g.c + ch] = finish_signal(e, own, pixel, ch, g.c);
}

template <class Arguments>
Geometry geometry_of(const char* launcher, const Arguments& a) {
  check_positive(launcher, "n", a.n);
  check_positive(launcher, "h", a.h);
  check_positive(launcher, "w", a.w);
  check_positive(launcher, "c", a.c);
  check_positive(launcher, "stride", a.stride);
  if (a.k < a.c) refuse(launcher, "k", std::to_string(a.k), "at least c = " + std::to_string(a.c));
  checked_elements(launcher, "x", {a.n, a.h, a.w, a.c});
  const int p = (a.h - 1) / a.stride + 1, q = (a.w - 1) / a.stride + 1;
  checked_elements(launcher, "y", {a.n, p, q, a.k});
  return {a.h, a.w, a.c, p, q, a.k, a.stride, (a.k - a.c) / 2};
}

}  // namespace

void shortcut_fprop(const ShortcutFprop& a, Stream stream) {
  const Geometry g = geometry_of("shortcut_fprop", a);
  check_pointer("shortcut_fprop", "x", a.x);
  check_pointer("shortcut_fprop", "y", a.y);
  check_apart("shortcut_fprop", {"y", a.y, 4LL * a.n * g.p * g.q * g.k},
              {"x", a.x, 4LL * a.n * g.h * g.w * g.c});
  const RowLaunch rows = by_rows("shortcut_fprop", 1LL * a.n * g.p, 1LL * g.q * g.k);
  launch<fprop>(rows.grid, rows.block, 0, stream)(g, a.x, a.y);
}

void shortcut_backward(const ShortcutBackward& a, Stream stream) {
  const Geometry g = geometry_of("shortcut_backward", a);
  check_pointer("shortcut_backward", "dy", a.dy);
  check_pointer("shortcut_backward", "dx", a.dx);
  const Operand dx{"dx", a.dx, 4LL * a.n * g.h * g.w * g.c};
  check_apart("shortcut_backward", dx, {"dy", a.dy, 4LL * a.n * g.p * g.q * g.k});
  check_epilogue("shortcut_backward", a.epilogue, dx, 1LL * a.n * g.h * g.w, g.c);
  const RowLaunch rows = by_rows("shortcut_backward", 1LL * a.n * g.h, 1LL * g.w * g.c);
  launch<backward>(rows.grid, rows.block, 0, stream)(g, a.dy, a.epilogue, a.dx);
}

}  // namespace retrace::kernels::RETRACE_TARGET
