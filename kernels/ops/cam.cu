// Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2) in three steps:
//   grad_cam_weights   weights[n, c] = mean over h, w of gradient[n, h, w, c]
//   cam_combine        cam[n, h, w] = Σ_c weights[n, c] · activations[n, h, w, c], then max(·, 0) if asked
//   for upsample_bilinear  half-pixel centres, edges clamped: PyTorch's interpolate with align_corners =
//   False
//
// Shapes as above, NHWC float32; maps are [n, h, w].
//
// Launch: grad_cam_weights is the global average pool of the gradient. cam_combine gives each warp 8 pixels:
// its lanes stride over the channels, so loads are contiguous, and the 8 sums are shared out by shuffles;
// blocks of 4 warps. upsample_bilinear runs one thread per output pixel, one row of blocks per output row.
#include "kernels/ops/common.cuh"
#include "kernels/table.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int warp_pixels = 8;
constexpr int warps = 4;

__global__ void __launch_bounds__(32 * warps)
    weighted_sum(long long pixels, int c, long long image_blocks, const float* weights,
                 const float* activations, bool relu, float* cam) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const long long image = blockIdx.x / image_blocks;
  const long long first = ((blockIdx.x - image * image_blocks) * warps + warp) * warp_pixels;
  const float* w = weights + image * c;
  const float* a = activations + image * pixels * c;
  float sums[warp_pixels] = {};
  for (int ch = lane; ch < c; ch += 32) {
    const float weight = w[ch];
#pragma unroll
    for (int i = 0; i < warp_pixels; ++i) {
      if (first + i < pixels) sums[i] += weight * a[(first + i) * c + ch];
    }
  }
  const float sum = warp_sums<warp_pixels>(sums, lane);
  constexpr int lanes_per_sum = 32 / warp_pixels;
  const long long pixel = first + lane / lanes_per_sum;
  if (lane % lanes_per_sum == 0 && pixel < pixels)
    cam[image * pixels + pixel] = relu && sum < 0.0f ? 0.0f : sum;
}

// The two neighbours of an output position on the input's axis, and the share of the second.
struct Between {
  int low, high;
  float share;
};
__device__ __forceinline__ Between between(int out, int size, float scale) {
  const float at = (float(out) + 0.5f) * scale - 0.5f;
  const float clamped = at < 0.0f ? 0.0f : at;
  int low = int(clamped);
  if (low > size - 1) low = size - 1;
  return {low, low + 1 < size ? low + 1 : low, clamped - float(low)};
}

__global__ void __launch_bounds__(256)
    bilinear(int h, int w, int out_h, int out_w, float scale_h, float scale_w, const float* x, float* y) {
  const int column = int(blockIdx.y * blockDim.x + threadIdx.x);
  if (column >= out_w) return;
  const int image = int(blockIdx.x) / out_h;
  const int row = int(blockIdx.x) - image * out_h;
  const Between v = between(row, h, scale_h);
  const Between u = between(column, w, scale_w);
  const float* upper = x + (1LL * image * h + v.low) * w;
  const float* lower = x + (1LL * image * h + v.high) * w;
  const float top = (1.0f - u.share) * upper[u.low] + u.share * upper[u.high];
  const float bottom = (1.0f - u.share) * lower[u.low] + u.share * lower[u.high];
  y[blockIdx.x * 1LL * out_w + column] = (1.0f - v.share) * top + v.share * bottom;
}

void check_sizes(const char* launcher, int n, int h, int w) {
  check_positive(launcher, "n", n);
  check_positive(launcher, "h", h);
  check_positive(launcher, "w", w);
}

}  // namespace

void grad_cam_weights(const GradCamWeights& a, Stream stream) {
  check_sizes("grad_cam_weights", a.n, a.h, a.w);
  check_positive("grad_cam_weights", "c", a.c);
  check_pointer("grad_cam_weights", "gradient", a.gradient);
  check_pointer("grad_cam_weights", "weights", a.weights);
  const long long bytes = 4 * checked_elements("grad_cam_weights", "gradient", {a.n, a.h, a.w, a.c});
  check_apart("grad_cam_weights", {"weights", a.weights, 4LL * a.n * a.c}, {"gradient", a.gradient, bytes});
  GlobalAvgPoolFprop mean;
  mean.n = a.n;
  mean.h = a.h;
  mean.w = a.w;
  mean.c = a.c;
  mean.x = a.gradient;
  mean.y = a.weights;
  global_avg_pool_fprop(mean, stream);
}

void cam_combine(const CamCombine& a, Stream stream) {
  check_sizes("cam_combine", a.n, a.h, a.w);
  check_positive("cam_combine", "c", a.c);
  check_pointer("cam_combine", "weights", a.weights);
  check_pointer("cam_combine", "activations", a.activations);
  check_pointer("cam_combine", "cam", a.cam);
  const long long bytes = 4 * checked_elements("cam_combine", "activations", {a.n, a.h, a.w, a.c});
  const long long pixels = 1LL * a.h * a.w;
  const Operand cam{"cam", a.cam, 4 * a.n * pixels};
  check_apart("cam_combine", cam, {"weights", a.weights, 4LL * a.n * a.c});
  check_apart("cam_combine", cam, {"activations", a.activations, bytes});
  const long long image_blocks = blocks_for(pixels, warps * warp_pixels);
  launch<weighted_sum>(grid_of("cam_combine", a.n * image_blocks), 32 * warps, 0, stream)(
      pixels, a.c, image_blocks, a.weights, a.activations, a.relu, a.cam);
}

void upsample_bilinear(const UpsampleBilinear& a, Stream stream) {
  check_sizes("upsample_bilinear", a.n, a.h, a.w);
  check_positive("upsample_bilinear", "out_h", a.out_h);
  check_positive("upsample_bilinear", "out_w", a.out_w);
  check_pointer("upsample_bilinear", "x", a.x);
  check_pointer("upsample_bilinear", "y", a.y);
  const long long in = 4 * checked_elements("upsample_bilinear", "x", {a.n, a.h, a.w});
  const long long out = 4 * checked_elements("upsample_bilinear", "y", {a.n, a.out_h, a.out_w});
  check_apart("upsample_bilinear", {"y", a.y, out}, {"x", a.x, in});
  const RowLaunch rows = by_rows("upsample_bilinear", 1LL * a.n * a.out_h, a.out_w);
  launch<bilinear>(rows.grid, rows.block, 0, stream)(a.h, a.w, a.out_h, a.out_w, float(a.h) / float(a.out_h),
                                                     float(a.w) / float(a.out_w), a.x, a.y);
}

}  // namespace retrace::kernels::RETRACE_TARGET
