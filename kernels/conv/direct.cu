// Direct convolution: one output per thread, written as the definition reads. Any stride, padding, dilation and
// groups. Slow and obviously right: the oracle the other variants are compared with on the device itself.
//
//   fprop:  y[n, p, q, k]  = Σ_{r, s, c} x[n, p·stride − pad + r·dilation, q·stride − pad + s·dilation, c] w[k, r, s, c]
//   dgrad:  dx[n, h, w, c] = Σ_{r, s, k} dy[n, p, q, k] w[k, r, s, c]   over the p, q whose tap (r, s) meets (h, w)
//
// Launch: blocks of 32 channels × 8 pixels; x walks the channel groups, y and z the pixels. Threads past the
// last channel or pixel stay, for the ReLU mask is gathered by the whole warp.
#include "kernels/conv/epilogue.cuh"
#include "kernels/conv/variants.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

constexpr int block_channels = 32, block_pixels = 8, most_blocks_y = 32768;

__device__ __forceinline__ long long pixel_of_thread() {
  return (static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y) * block_pixels + threadIdx.y;
}

dim3 grid_for(int channels, long long pixels) {
  const long long blocks = (pixels + block_pixels - 1) / block_pixels;
  const long long y = blocks < most_blocks_y ? blocks : most_blocks_y;
  return dim3(unsigned((channels + block_channels - 1) / block_channels), unsigned(y),
              unsigned((blocks + y - 1) / y));
}

__global__ void fprop(Conv2dFprop a) {
  const Conv2dShape& d = a.shape;
  const int k = blockIdx.x * block_channels + threadIdx.x;
  const long long pixel = pixel_of_thread();
  const int P = d.p(), Q = d.q(), C = d.c / d.groups;
  const bool valid = k < d.k && pixel < 1LL * d.n * P * Q;
  float y = 0;
  if (valid) {
    const int q = int(pixel % Q), p = int(pixel / Q % P), n = int(pixel / Q / P);
    const int first = k / (d.k / d.groups) * C;  // of this group's input channels
    float sum = 0;
    for (int r = 0; r < d.r; ++r) {
      const int h = p * d.stride_h - d.pad_h + r * d.dilation_h;
      if (h < 0 || h >= d.h) continue;
      for (int s = 0; s < d.s; ++s) {
        const int w = q * d.stride_w - d.pad_w + s * d.dilation_w;
        if (w < 0 || w >= d.w) continue;
        const float* x = a.x + ((1LL * n * d.h + h) * d.w + w) * d.c + first;
        const float* weight = a.w + ((1LL * k * d.r + r) * d.s + s) * C;
        for (int c = 0; c < C; ++c) sum += part_of(a.part, x[c]) * weight[c];
      }
    }
    y = finish_output(a, sum, pixel * d.k + k, k);
    a.y[pixel * d.k + k] = y;
  }
  if (a.relu_mask) {
    const unsigned bits = __ballot_sync(0xffffffffu, valid && y > 0);
    const int lane = threadIdx.x;
    if (valid && lane % 8 == 0) {
      a.relu_mask[pixel * mask_pitch(d.k) + k / 8] = static_cast<std::uint8_t>(bits >> lane & 0xff);
    }
  }
}

__global__ void dgrad(Conv2dDgrad a) {
  const Conv2dShape& d = a.shape;
  const int c = blockIdx.x * block_channels + threadIdx.x;
  const long long pixel = pixel_of_thread();
  if (c >= d.c || pixel >= 1LL * d.n * d.h * d.w) return;
  const int w = int(pixel % d.w), h = int(pixel / d.w % d.h), n = int(pixel / d.w / d.h);
  const int P = d.p(), Q = d.q(), C = d.c / d.groups, K = d.k / d.groups;
  const int group = c / C;
  float sum = 0;
  for (int r = 0; r < d.r; ++r) {
    const int from_h = h + d.pad_h - r * d.dilation_h;
    if (from_h < 0 || from_h % d.stride_h != 0 || from_h / d.stride_h >= P) continue;
    for (int s = 0; s < d.s; ++s) {
      const int from_w = w + d.pad_w - s * d.dilation_w;
      if (from_w < 0 || from_w % d.stride_w != 0 || from_w / d.stride_w >= Q) continue;
      const long long dy = ((1LL * n * P + from_h / d.stride_h) * Q + from_w / d.stride_w) * d.k + group * K;
      const float* weight = a.w + ((1LL * group * K * d.r + r) * d.s + s) * C + c % C;
      for (int k = 0; k < K; ++k) sum += load_signal(a.dy, dy + k) * weight[1LL * k * d.r * d.s * C];
    }
  }
  a.dx[pixel * d.c + c] = finish_input(a, sum, pixel, c);
}

}  // namespace

void conv2d_fprop_direct(const Conv2dFprop& a, Stream stream) {
  const long long pixels = 1LL * a.shape.n * a.shape.p() * a.shape.q();
  launch<fprop>(grid_for(a.shape.k, pixels), dim3(block_channels, block_pixels), 0, stream)(a);
}

void conv2d_dgrad_direct(const Conv2dDgrad& a, Stream stream) {
  const long long pixels = 1LL * a.shape.n * a.shape.h * a.shape.w;
  launch<dgrad>(grid_for(a.shape.c, pixels), dim3(block_channels, block_pixels), 0, stream)(a);
}

}  // namespace retrace::kernels::RETRACE_TARGET
