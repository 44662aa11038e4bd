// Direct weight gradient: one weight per thread, written as the definition reads. Slow and obviously right.
//
//   dw[k, r, s, c] = Σ_{n, p, q} dy[n, p, q, k] x[n, p·stride − pad + r·dilation, q·stride − pad + s·dilation, c]
//
// Launch: one thread per weight, 64 a block, channels c fastest.
#include "kernels/conv/variants.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

constexpr int block_weights = 64;

__global__ void wgrad(Conv2dWgrad a, long long count) {
  const Conv2dShape& d = a.shape;
  const long long weight = 1LL * blockIdx.x * block_weights + threadIdx.x;
  if (weight >= count) return;
  const int P = d.p(), Q = d.q(), C = d.c / d.groups;
  const int s = int(weight / C % d.s), r = int(weight / C / d.s % d.r), k = int(weight / C / d.s / d.r);
  const int c = k / (d.k / d.groups) * C + int(weight % C);
  float sum = 0;
  for (int n = 0; n < d.n; ++n) {
    for (int p = 0; p < P; ++p) {
      const int h = p * d.stride_h - d.pad_h + r * d.dilation_h;
      if (h < 0 || h >= d.h) continue;
      for (int q = 0; q < Q; ++q) {
        const int w = q * d.stride_w - d.pad_w + s * d.dilation_w;
        if (w < 0 || w >= d.w) continue;
        sum += a.dy[((1LL * n * P + p) * Q + q) * d.k + k] * a.x[((1LL * n * d.h + h) * d.w + w) * d.c + c];
      }
    }
  }
  a.dw[weight] = a.accumulate ? a.dw[weight] + sum : sum;
}

}  // namespace

void conv2d_wgrad_direct(const Conv2dWgrad& a, Stream stream) {
  const long long count = a.shape.weight_size(), blocks = (count + block_weights - 1) / block_weights;
  launch<wgrad>(unsigned(blocks), block_weights, 0, stream)(a, count);
}

}  // namespace retrace::kernels::RETRACE_TARGET
