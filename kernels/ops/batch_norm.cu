// Batch norm in training (Ioffe & Szegedy 2015), conventions of torch.nn.BatchNorm2d:
//   fprop     mean, var over all pixels;  y = relu((x − mean) · inverse_std · weight + bias + residual)
//   backward  dbias = Σ dy;  dweight = Σ dy · x̂;  dx = weight · inverse_std · (dy − dbias / n − x̂ · dweight / n)
//             with x̂ = (x − mean) · inverse_std, then the signal epilogue
//
// Shapes: x, y, dy, dx, residual [pixels, c] float32; parameters and statistics [c]; mask [pixels, mask_pitch(c)].
//
// Both directions need two sums per channel over all pixels, kept in double so that a mean far from zero does not
// swallow the variance. Launch 1: pixels are cut into slices (norm_slices); a block of 256 threads takes one slice of 32
// channels: thread (g, l) sums channels 4g … 4g + 3 of pixels l, l + 32, …, in order, and the first eight threads add
// the 32 parts in order and write them to the workspace. Launch 2: one thread per channel adds the slices in order
// and makes statistics or gradients of them. Launch 3: one thread per 8 channels of 4 pixels. The order of all
// additions depends on the number of pixels alone.
#include "kernels/ops/common.cuh"
#include "kernels/ops/slices.h"
#include "kernels/ops/train.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256, block_channels = 32, lanes = threads / (block_channels / 4);

// Σ a and Σ a · b per channel: fprop of x and x, backward of dy and x.
template <bool Wide>
__global__ void __launch_bounds__(threads)
    sums(int pixels, int c, int slice_pixels, const float* a, const float* b, double* workspace) {
  SHARED(double, parts, 8 * threads);
  const int group = int(threadIdx.x) % (block_channels / 4), lane = int(threadIdx.x) / (block_channels / 4);
  const int channel = int(blockIdx.y) * block_channels + group * 4;
  const int first = int(blockIdx.x) * slice_pixels;
  const int end = pixels - first < slice_pixels ? pixels : first + slice_pixels;
  double one[4] = {}, two[4] = {};
  if (channel < c) {
#pragma unroll 2
    for (int pixel = first + lane; pixel < end; pixel += lanes) {
      const long long i = 1LL * pixel * c + channel;
      float u[4] = {}, v[4] = {};
      if constexpr (Wide) {
        load_wide<4>(a + i, u);
        load_wide<4>(b + i, v);
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (channel + j < c) u[j] = a[i + j], v[j] = b[i + j];
        }
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        one[j] += double(u[j]);
        two[j] += double(u[j]) * double(v[j]);
      }
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    parts[(j * 2 + 0) * threads + threadIdx.x] = one[j];
    parts[(j * 2 + 1) * threads + threadIdx.x] = two[j];
  }
  __syncthreads();
  // 64 sums of 32 parts: channel 4g + j, first or second.
  if (threadIdx.x >= 2 * block_channels) return;
  const int which = int(threadIdx.x) % 8, of = int(threadIdx.x) / 8;
  const int out = int(blockIdx.y) * block_channels + of * 4 + which / 2;
  if (out >= c) return;
  double sum = 0;
#pragma unroll 4
  for (int l = 0; l < lanes; ++l) sum += parts[which * threads + l * (block_channels / 4) + of];
  workspace[(1LL * blockIdx.x * 2 + which % 2) * c + out] = sum;
}

__device__ __forceinline__ void add_slices(const double* workspace, int slices, int c, int channel,
                                           double& one, double& two) {
  one = two = 0;
#pragma unroll 4
  for (int i = 0; i < slices; ++i) {
    one += workspace[2LL * i * c + channel];
    two += workspace[(2LL * i + 1) * c + channel];
  }
}

__global__ void statistics(BatchNormFprop a, int slices) {
  const int channel = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (channel >= a.c) return;
  double sum, squares;
  add_slices(reinterpret_cast<const double*>(a.workspace), slices, a.c, channel, sum, squares);
  const double n = a.pixels, mean = sum / n;
  double spread = squares - sum * mean;  // Σ (x − mean)²
  spread = spread < 0 ? 0 : spread;      // rounding; a NaN stays
  a.mean[channel] = float(mean);
  a.inverse_std[channel] = float(1 / sqrt(spread / n + double(a.epsilon)));
  if (a.running_mean) {
    const float keep = 1 - a.momentum;
    a.running_mean[channel] = keep * a.running_mean[channel] + a.momentum * float(mean);
    a.running_var[channel] = keep * a.running_var[channel] + a.momentum * float(spread / (n - 1));
  }
}

__global__ void gradients(BatchNormBackward a, int slices, double* totals) {
  const int channel = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (channel >= a.c) return;
  double dy, dy_x;
  add_slices(reinterpret_cast<const double*>(a.workspace), slices, a.c, channel, dy, dy_x);
  const double dweight = (dy_x - dy * double(a.mean[channel])) * double(a.inverse_std[channel]);
  a.dbias[channel] = (a.accumulate ? a.dbias[channel] : 0.0f) + float(dy);
  a.dweight[channel] = (a.accumulate ? a.dweight[channel] : 0.0f) + float(dweight);
  totals[channel] = dy / a.pixels;
  totals[a.c + channel] = dweight / a.pixels;
}

// What a thread does with 8 channels of several pixels.
constexpr int thread_pixels = 4;

struct Place {
  int group, first, count;  // 8 channels, the first and how many exist
  int pixel;                // the first of the thread's
};

__device__ __forceinline__ bool place_of_thread(int pixels, int c, Place& place) {
  const int groups = (c + 7) / 8;
  const long long t = blockIdx.x * 1LL * threads + threadIdx.x;
  long long row;
  split_index(t, groups, row, place.group);
  place.pixel = int(row) * thread_pixels;
  place.first = place.group * 8;
  place.count = c - place.first < 8 ? c - place.first : 8;
  return row * thread_pixels < pixels;
}

template <bool Wide>
__global__ void __launch_bounds__(threads) normalize(BatchNormFprop a) {
  Place at;
  if (!place_of_thread(a.pixels, a.c, at)) return;
  float mean[8], scale[8], bias[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int channel = at.first + (j < at.count ? j : 0);
    mean[j] = a.mean[channel];
    scale[j] = a.inverse_std[channel] * a.weight[channel];
    bias[j] = a.bias[channel];
  }
#pragma unroll
  for (int p = 0; p < thread_pixels; ++p) {
    if (at.pixel + p >= a.pixels) return;
    const long long i = 1LL * (at.pixel + p) * a.c + at.first;
    float v[8];
    load_eight<Wide>(a.x + i, at.count, v);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = multiply_add(v[j] - mean[j], scale[j], bias[j]);
    if (a.residual) {
      float more[8];
      load_eight<Wide>(a.residual + i, at.count, more);
#pragma unroll
      for (int j = 0; j < 8; ++j) v[j] += more[j];
    }
    if (a.relu) {
      unsigned bits = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        bits |= unsigned(j < at.count && v[j] > 0.0f) << j;
        v[j] = v[j] < 0.0f ? 0.0f : v[j];
      }
      if (a.relu_mask) a.relu_mask[1LL * (at.pixel + p) * ((a.c + 7) / 8) + at.group] = std::uint8_t(bits);
    }
    store_eight<Wide>(a.y + i, at.count, v);
  }
}

template <bool Wide>
__global__ void __launch_bounds__(threads) to_input(BatchNormBackward a, const double* totals) {
  Place at;
  if (!place_of_thread(a.pixels, a.c, at)) return;
  float mean[8], inverse[8], scale[8], plain[8], slope[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const int channel = at.first + (j < at.count ? j : 0);
    mean[j] = a.mean[channel];
    inverse[j] = a.inverse_std[channel];
    scale[j] = a.weight[channel] * inverse[j];
    plain[j] = float(totals[channel]);
    slope[j] = float(totals[a.c + channel]);
  }
  for (int p = 0; p < thread_pixels; ++p) {
    const int pixel = at.pixel + p;
    if (pixel >= a.pixels) return;
    const long long i = 1LL * pixel * a.c + at.first;
    float x[8], dy[8];
    load_eight<Wide>(a.x + i, at.count, x);
    load_eight<Wide>(a.dy + i, at.count, dy);
    float pending[8] = {};
    if (a.epilogue.pending) load_eight<Wide>(a.epilogue.pending + i, at.count, pending);
    const unsigned bits = a.epilogue.mask ? a.epilogue.mask[1LL * pixel * ((a.c + 7) / 8) + at.group] : 0xffu;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const float own = scale[j] * multiply_add((mean[j] - x[j]) * inverse[j], slope[j], dy[j] - plain[j]);
      dy[j] = bits >> j & 1 ? own + pending[j] : 0.0f;
    }
    store_eight<Wide>(a.dx + i, at.count, dy);
  }
}

struct Sizes {
  long long bytes;  // of [pixels, c] floats
  int slices, slice_pixels;
};

Sizes sizes_of(const char* launcher, int pixels, int c, const float* workspace) {
  if (pixels < 2) refuse(launcher, "pixels", std::to_string(pixels), "at least 2");
  check_positive(launcher, "c", c);
  check_pointer(launcher, "workspace", workspace);
  if (!aligned({workspace}, 8)) refuse(launcher, "workspace", "not aligned", "a multiple of 8 bytes");
  const int slices = norm_slices(pixels);
  return {4 * checked_elements(launcher, "x", {pixels, c}), slices, int(blocks_for(pixels, slices))};
}

template <bool Wide>
void launch_sums(const char* launcher, int pixels, int c, const Sizes& sizes, const float* a, const float* b,
                 float* workspace, Stream stream) {
  launch<sums<Wide>>(grid_of(launcher, sizes.slices, blocks_for(c, block_channels)), threads, 0, stream)(
      pixels, c, sizes.slice_pixels, a, b, reinterpret_cast<double*>(workspace));
}

dim3 pixel_grid(const char* launcher, int pixels, int c) {
  return grid_of(launcher, blocks_for(blocks_for(pixels, thread_pixels) * mask_pitch(c), threads));
}

}  // namespace

void batch_norm_fprop(const BatchNormFprop& a, Stream stream) {
  const char* const me = "batch_norm_fprop";
  const Sizes sizes = sizes_of(me, a.pixels, a.c, a.workspace);
  const Operand x{"x", a.x, sizes.bytes}, y{"y", a.y, sizes.bytes}, mean{"mean", a.mean, 4LL * a.c},
      inverse{"inverse_std", a.inverse_std, 4LL * a.c}, weight{"weight", a.weight, 4LL * a.c},
      bias{"bias", a.bias, 4LL * a.c};
  for (const Operand& o : {x, y, mean, inverse, weight, bias}) check_pointer(me, o.name, o.data);
  if (!(a.epsilon > 0)) refuse(me, "epsilon", std::to_string(a.epsilon), "above 0");
  if (!(a.momentum >= 0 && a.momentum <= 1)) refuse(me, "momentum", std::to_string(a.momentum), "0 to 1");
  if (!a.running_mean != !a.running_var) {
    refuse(me, a.running_mean ? "running_var" : "running_mean", "null", "both or neither");
  }
  if (a.relu_mask && !a.relu) refuse(me, "relu_mask", "given without relu", "null");
  const Operand mask{"relu_mask", a.relu_mask, 1LL * a.pixels * mask_pitch(a.c)};
  const Operand scratch{"workspace", a.workspace, 4 * batch_norm_workspace(a.pixels, a.c)};
  const Operand residual{"residual", a.residual, sizes.bytes};
  const Operand outs[] = {y,
                          mean,
                          inverse,
                          {"running_mean", a.running_mean, 4LL * a.c},
                          scratch,
                          mask,
                          {"running_var", a.running_var, 4LL * a.c}};
  for (const Operand& out : outs) {
    for (const Operand& in : {x, weight, bias}) check_apart(me, out, in);
    if (&out != outs) check_apart(me, out, residual);
    for (const Operand* other = outs; other != &out; ++other) check_apart(me, out, *other);
  }
  check_same_or_apart(me, y, residual);

  const bool wide = a.c % 4 == 0 && aligned({a.x, a.y, a.residual}, 16);
  (wide ? launch_sums<true> : launch_sums<false>)(me, a.pixels, a.c, sizes, a.x, a.x, a.workspace, stream);
  launch<statistics>(grid_of(me, blocks_for(a.c, 64)), 64, 0, stream)(a, sizes.slices);
  const dim3 grid = pixel_grid(me, a.pixels, a.c);
  if (wide) {
    launch<normalize<true>>(grid, threads, 0, stream)(a);
  } else {
    launch<normalize<false>>(grid, threads, 0, stream)(a);
  }
}

void batch_norm_backward(const BatchNormBackward& a, Stream stream) {
  const char* const me = "batch_norm_backward";
  const Sizes sizes = sizes_of(me, a.pixels, a.c, a.workspace);
  const Operand x{"x", a.x, sizes.bytes}, dy{"dy", a.dy, sizes.bytes}, dx{"dx", a.dx, sizes.bytes};
  const Operand mean{"mean", a.mean, 4LL * a.c}, inverse{"inverse_std", a.inverse_std, 4LL * a.c};
  const Operand weight{"weight", a.weight, 4LL * a.c}, dweight{"dweight", a.dweight, 4LL * a.c},
      dbias{"dbias", a.dbias, 4LL * a.c};
  for (const Operand& o : {x, dy, mean, inverse, weight, dweight, dbias}) check_pointer(me, o.name, o.data);
  const Operand scratch{"workspace", a.workspace, 4 * batch_norm_workspace(a.pixels, a.c)};
  for (const Operand& in : {x, dy, mean, inverse, weight, dweight, dbias, dx}) check_apart(me, scratch, in);
  for (const Operand& out : {dweight, dbias}) {
    for (const Operand& in : {x, dy, mean, inverse, weight, dx}) check_apart(me, out, in);
  }
  check_apart(me, dweight, dbias);
  for (const Operand& in : {x, mean, inverse, weight}) check_apart(me, dx, in);
  check_same_or_apart(me, dx, dy);
  if (a.dx) {
    check_epilogue(me, a.epilogue, dx, a.pixels, a.c);
    const Operand pending{"epilogue.pending", a.epilogue.pending, sizes.bytes};
    const Operand mask{"epilogue.mask", a.epilogue.mask, 1LL * a.pixels * mask_pitch(a.c)};
    for (const Operand& out : {scratch, dweight, dbias}) {
      check_apart(me, out, pending);
      check_apart(me, out, mask);
    }
  }

  const bool wide = a.c % 4 == 0 && aligned({a.x, a.dy, a.dx, a.epilogue.pending}, 16);
  (wide ? launch_sums<true> : launch_sums<false>)(me, a.pixels, a.c, sizes, a.dy, a.x, a.workspace, stream);
  double* const totals = reinterpret_cast<double*>(a.workspace) + 2LL * sizes.slices * a.c;
  launch<gradients>(grid_of(me, blocks_for(a.c, 64)), 64, 0, stream)(a, sizes.slices, totals);
  if (!a.dx) return;
  const dim3 grid = pixel_grid(me, a.pixels, a.c);
  if (wide) {
    launch<to_input<true>>(grid, threads, 0, stream)(a, totals);
  } else {
    launch<to_input<false>>(grid, threads, 0, stream)(a, totals);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
