// One filter per channel (groups = c = k), as in MobileNets (Howard et al. 2017; Sandler et al. 2018):
//
//   fprop:  y[n, p, q, c]  = Σ_{r, s} x[n, p·stride − pad + r·dilation, q·stride − pad + s·dilation, c] w[c, r, s]
//   dgrad:  dx[n, h, w, c] = Σ_{r, s} dy[n, p, q, c] w[c, r, s]   over the p, q whose tap (r, s) meets (h, w)
//
// There is nothing to share between channels, so memory decides: channels are fastest, and a thread makes eight of them
// at several places, which makes its weights worth fetching and gives it a whole byte of a ReLU mask. Every sum runs in
// the order (r, s), whatever kernel makes it.
//
//   three_by_three  3 × 3, padding 1, stride 1 or 2, channels by eights, everything 16-byte aligned: a network's own
//                   layers. A thread makes four neighbouring columns of several rows; its 72 weights stay in registers,
//                   and each value of a row is read once for all columns that meet it. dgrad at stride 2 works out at
//                   compile time which taps meet which column, so nothing multiplies the zeros between strided outputs;
//                   a signal with a factor or denominator goes to any_filter, which has one place that reads it.
//   pointwise       1 × 1: a scale and an offset per channel (a folded batch norm), as lean as an elementwise kernel: a
//                   thread makes eight channels of four pixels.
//   any_filter      everything else: four columns (of one parity, in dgrad), one tap at a time.
#include <algorithm>
#include <numeric>
#include <type_traits>
#include <utility>

#include "kernels/conv/epilogue.cuh"
#include "kernels/conv/variants.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

constexpr int threads = 128, columns = 4;

// Eight values of the source, from element i on, as the launch wants them read. Wide: all eight exist and are aligned.
template <bool Wide>
__device__ __forceinline__ void load_source(const Conv2dFprop& a, int i, int count, Eight& to) {
  if constexpr (Wide) {
    to.load(a.x + i);
  } else {
    float v[8];
    load_eight<false>(a.x + i, count, v);
    to.from_array(v);
  }
  part_of(a.part, to);
}
template <bool Wide>
__device__ __forceinline__ void load_source(const Conv2dDgrad& a, int i, int count, Eight& to) {
  const SignalLoad& load = a.dy;
  float v[8];
  if constexpr (Wide) {
    to.load(load.signal + i);
    if (!load.factor && !load.denominator) return;
    to.to_array(v);
  } else {
    load_eight<false>(load.signal + i, count, v);
  }
  if (load.factor) {
    float by[8];
    load_eight<Wide>(load.factor + i, count, by);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] *= by[j];
  }
  if (load.denominator) {
    float by[8];
    load_eight<Wide>(load.denominator + i, count, by);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = stable_quotient(v[j], by[j], load.epsilon);
  }
  to.from_array(v);
}

// A finished sum of eight channels goes to its place in the result.
template <bool Wide>
__device__ __forceinline__ void finish(const Conv2dFprop& a, Eight& sum, int pixel, int channel, int count) {
  unsigned positive;
  if constexpr (Wide) {
    positive = finish_outputs(a, sum, pixel, channel);
  } else {
    float v[8];
    sum.to_array(v);
    positive = finish_outputs(a, false, v, pixel, channel, count);
  }
  if (a.relu_mask) {
    a.relu_mask[1LL * pixel * ((a.shape.k + 7) / 8) + channel / 8] = static_cast<std::uint8_t>(positive);
  }
}
template <bool Wide>
__device__ __forceinline__ void finish(const Conv2dDgrad& a, Eight& sum, int pixel, int channel, int count) {
  if constexpr (Wide) {
    finish_inputs(a, sum, pixel, channel);
  } else {
    float v[8];
    sum.to_array(v);
    finish_inputs(a, false, v, pixel, channel, count);
  }
}

#define INLINE __attribute__((always_inline))  // for lambdas

// f(0), …, f(N − 1), each with its number as a constant: unrolled by every compiler.
template <class F, int... I>
__device__ __forceinline__ void repeat(F&& f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
__device__ __forceinline__ void repeat(F&& f) {
  repeat(f, std::make_integer_sequence<int, N>{});
}

// How four neighbouring columns of the result meet the source: in `reads` columns from first(column) on; column number o
// meets read number i by tap s(i, o), if there is such a tap.
template <bool Dgrad, int Stride>
struct Meeting {
  static constexpr int reads = Dgrad ? (Stride == 1 ? 6 : 3) : 3 * Stride + 3;
  __device__ static constexpr int first(int column) {
    return Dgrad && Stride == 2 ? column / 2 : column * Stride - 1;
  }
  __device__ static constexpr int s(int i, int o) {
    return !Dgrad ? i - o * Stride : Stride == 1 ? o + 2 - i : o + 1 - 2 * i;
  }
};

// Launch: a row of blocks per image and `rows` rows of the result; its threads are the channel groups, fastest, and the
// tiles of four columns. dgrad's signal must be plain. The 1 keeps sm_90's compiler from squeezing three blocks in, where
// it would spill.
template <class Args, int Stride>
__global__ void __launch_bounds__(threads, 1) three_by_three(Args a, int rows) {
  constexpr bool is_dgrad = std::is_same_v<Args, Conv2dDgrad>;
  using Columns = Meeting<is_dgrad, Stride>;
  const Conv2dShape& d = a.shape;
  const int P = d.p(), Q = d.q();
  const int to_h = is_dgrad ? d.h : P, to_w = is_dgrad ? d.w : Q;
  const int from_h = is_dgrad ? P : d.h, from_w = is_dgrad ? Q : d.w;

  const int groups = d.c / 8, t = int(blockIdx.y * blockDim.x + threadIdx.x);
  const int column = t / groups * columns, channel = t % groups * 8;
  if (column >= to_w) return;
  const int chunks = (to_h + rows - 1) / rows, image = int(blockIdx.x) / chunks;
  const int first_row = (int(blockIdx.x) - image * chunks) * rows;
  const int end_row = min(first_row + rows, to_h);
  const int first_read = Columns::first(column);

  Eight w[9];
  float taps[9][8];
  repeat<18>([&](auto i) INLINE {
    float four[4];
    load_wide<4>(a.w + 9 * channel + 4 * i, four);
    repeat<4>([&](auto j) INLINE { taps[(4 * i + j) % 9][(4 * i + j) / 9] = four[j]; });
  });
  repeat<9>([&](auto i) INLINE { w[i].from_array(taps[i]); });

#pragma unroll 1
  for (int row = first_row; row < end_row; ++row) {
    Eight sum[columns];
    repeat<columns>([&](auto o) INLINE { sum[o].clear(); });
    repeat<3>([&](auto r) INLINE {
      if (is_dgrad && (row + 1 - r) % Stride != 0) return;
      const int from_row = is_dgrad ? (row + 1 - r) / Stride : row * Stride - 1 + r;
      if (from_row < 0 || from_row >= from_h) return;
      const int from = (image * from_h + from_row) * from_w * d.c + channel;
      repeat<Columns::reads>([&](auto i) INLINE {
        constexpr int read = is_dgrad ? Columns::reads - 1 - i : i;  // so that s rises
        const int from_column = first_read + read;
        Eight v;
        v.clear();
        if (from_column >= 0 && from_column < from_w) {
          if constexpr (is_dgrad) {
            v.load(a.dy.signal + from + from_column * d.c);
          } else {
            load_source<true>(a, from + from_column * d.c, 8, v);
          }
        }
        repeat<columns>([&](auto o) INLINE {
          constexpr int s = Columns::s(read, o);
          if constexpr (s >= 0 && s < 3) sum[o].multiply_add(v, w[r * 3 + s]);
        });
      });
    });
    repeat<columns>([&](auto o) INLINE {
      if (column + o < to_w) finish<true>(a, sum[o], (image * to_h + row) * to_w + column + o, channel, 8);
    });
  }
}

// Launch: thread t makes channel group t mod groups of pixels t / groups, that + step, … : `places` of them.
constexpr int places = 4;
template <class Args>
__global__ void __launch_bounds__(threads) pointwise(Args a, int pixels, int step) {
  const int groups = a.shape.c / 8, t = int(blockIdx.x * threads + threadIdx.x);
  const int first = t / groups, channel = t % groups * 8;
  if (first >= step) return;
  Eight w, x[places];
  w.load(a.w + channel);
#pragma unroll
  for (int i = 0; i < places; ++i) {
    const int pixel = first + i * step;
    if (pixel < pixels) load_source<true>(a, pixel * a.shape.c + channel, 8, x[i]);
  }
#pragma unroll
  for (int i = 0; i < places; ++i) {
    const int pixel = first + i * step;
    if (pixel >= pixels) return;
    Eight sum;
    sum.clear();
    sum.multiply_add(x[i], w);
    finish<true>(a, sum, pixel, channel, 8);
  }
}

// The taps of one axis that meet a place of the result: tap, tap + tap_step, … below `taps`; the first of them meets
// position `at` of the source, each next one at_step further.
struct Taps {
  int tap, tap_step, at, at_step;
};
// fprop: place · stride − pad + tap · dilation. dgrad: (place + pad − tap · dilation) / stride where that divides.
template <bool Dgrad>
__device__ __forceinline__ Taps taps_at(int place, int stride, int pad, int dilation, int taps,
                                        int tap_step) {
  if (!Dgrad) return {0, 1, place * stride - pad, dilation};
  const int candidates = min(taps, tap_step);  // tap_step may be far larger
  int tap = 0;
  while (tap < candidates && (place + pad - tap * dilation) % stride != 0) ++tap;
  if (tap == candidates) return {taps, 1, 0, 0};
  return {tap, candidates, (place + pad - tap * dilation) / stride, -(dilation / (stride / tap_step))};
}

// Launch: a row of blocks per row of the result; its threads are the channel groups, fastest, then tiles of four
// columns, then, in dgrad, the columns' parities: the four are a stride apart, so that the same taps meet them.
// tap_step = stride / gcd(stride, dilation), 1 in fprop: how far apart taps are that meet the same place.
template <class Args, bool Wide>
__global__ void __launch_bounds__(threads)
    any_filter(Args a, int tiles, int parities, int tap_step_h, int tap_step_w) {
  constexpr bool is_dgrad = std::is_same_v<Args, Conv2dDgrad>;
  const Conv2dShape& d = a.shape;
  const int P = d.p(), Q = d.q();
  const int to_h = is_dgrad ? d.h : P, to_w = is_dgrad ? d.w : Q;
  const int from_h = is_dgrad ? P : d.h, from_w = is_dgrad ? Q : d.w;
  const int apart = is_dgrad ? d.stride_w : 1;                       // columns of the result
  const unsigned from_apart = is_dgrad ? 1u : unsigned(d.stride_w);  // and of the source

  const int groups = (d.c + 7) / 8, t = int(blockIdx.y * blockDim.x + threadIdx.x);
  const int channel = t % groups * 8, count = min(d.c - channel, 8);
  const int tile = t / groups % tiles, parity = t / groups / tiles;
  const long long column = 1LL * tile * columns * apart + parity;
  if (parity >= parities || column >= to_w) return;
  const int image = int(blockIdx.x) / to_h, row = int(blockIdx.x) - image * to_h;

  Eight sum[columns];
#pragma unroll
  for (int o = 0; o < columns; ++o) sum[o].clear();
  const Taps down = taps_at<is_dgrad>(row, d.stride_h, d.pad_h, d.dilation_h, d.r, tap_step_h);
  const Taps across = taps_at<is_dgrad>(int(column), d.stride_w, d.pad_w, d.dilation_w, d.s, tap_step_w);
  unsigned h = unsigned(down.at);  // one that wraps is outside, as one below 0 is
  for (int r = down.tap; r < d.r; r += down.tap_step, h += unsigned(down.at_step)) {
    if (h >= unsigned(from_h)) continue;
    const int from = (image * from_h + int(h)) * from_w * d.c + channel;
    const float* const filters = a.w + (1LL * channel * d.r + r) * d.s;
    unsigned at = unsigned(across.at);
#pragma unroll 1
    for (int s = across.tap; s < d.s; s += across.tap_step, at += unsigned(across.at_step)) {
      Eight w;
      float filter[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) filter[j] = j < count ? filters[1LL * j * d.r * d.s + s] : 0.0f;
      w.from_array(filter);
#pragma unroll
      for (int o = 0; o < columns; ++o) {
        const unsigned from_column = at + unsigned(o) * from_apart;
        if (from_column >= unsigned(from_w)) continue;
        Eight v;
        load_source<Wide>(a, from + int(from_column) * d.c, count, v);
        sum[o].multiply_add(v, w);
      }
    }
  }
#pragma unroll
  for (int o = 0; o < columns; ++o) {
    const long long to = column + 1LL * o * apart;
    if (to < to_w) finish<Wide>(a, sum[o], (image * to_h + row) * to_w + int(to), channel, count);
  }
}

bool all_aligned_to_16(const Conv2dFprop& a) {
  return aligned({a.x, a.w, a.bias, a.residual, a.y}, 16);
}
bool all_aligned_to_16(const Conv2dDgrad& a) {
  return aligned({a.dy.signal, a.dy.factor, a.dy.denominator, a.w, a.multiply, a.epilogue.pending, a.dx}, 16);
}

RowLaunch rows_of(long long rows, long long per_row) {
  const long long block = std::min<long long>(threads, (per_row + 31) / 32 * 32);
  return {grid_of("depthwise convolution", rows, blocks_for(per_row, block)), dim3(unsigned(block))};
}

template <class Args>
void launch_three_by_three(const Args& a, int to_h, int to_w, Stream stream) {
  const long long per_row = 1LL * ((to_w + columns - 1) / columns) * (a.shape.c / 8);
  // Weights fetched once for many rows, but enough threads for a large GPU.
  constexpr long long threads_wanted = 132 * 32;
  const int rows =
      int(std::clamp(a.shape.n * to_h * per_row / threads_wanted, 1LL, std::min(8LL, 1LL * to_h)));
  const RowLaunch by = rows_of(1LL * a.shape.n * ((to_h + rows - 1) / rows), per_row);
  if (a.shape.stride_h == 1) {
    launch<three_by_three<Args, 1>>(by.grid, by.block, 0, stream)(a, rows);
  } else {
    launch<three_by_three<Args, 2>>(by.grid, by.block, 0, stream)(a, rows);
  }
}

template <class Args>
void launch_depthwise(const Args& a, Stream stream) {
  constexpr bool is_dgrad = std::is_same_v<Args, Conv2dDgrad>;
  const Conv2dShape& d = a.shape;
  const int to_h = is_dgrad ? d.h : d.p(), to_w = is_dgrad ? d.w : d.q();
  const bool wide = d.c % 8 == 0 && all_aligned_to_16(a);
  bool plain = true;  // the source is an array as it stands, or a part of one
  if constexpr (is_dgrad) plain = !a.dy.factor && !a.dy.denominator;
  const auto same = [&](int h, int w, int value) { return h == value && w == value; };
  if (wide && plain && same(d.r, d.s, 3) && same(d.pad_h, d.pad_w, 1) &&
      same(d.dilation_h, d.dilation_w, 1) &&
      (same(d.stride_h, d.stride_w, 1) || same(d.stride_h, d.stride_w, 2))) {
    return launch_three_by_three(a, to_h, to_w, stream);
  }
  if (wide && same(d.r, d.s, 1) && same(d.pad_h, d.pad_w, 0) && same(d.stride_h, d.stride_w, 1)) {
    const int pixels = d.n * d.h * d.w, step = (pixels + places - 1) / places;
    const dim3 grid = grid_of("depthwise convolution", blocks_for(1LL * step * (d.c / 8), threads));
    return launch<pointwise<Args>>(grid, threads, 0, stream)(a, pixels, step);
  }
  const int parities = is_dgrad ? std::min(d.stride_w, d.w) : 1;
  const int of_a_parity = (to_w - 1) / (is_dgrad ? d.stride_w : 1) + 1,
            tiles = (of_a_parity + columns - 1) / columns;
  const int tap_step_h = is_dgrad ? d.stride_h / std::gcd(d.stride_h, d.dilation_h) : 1;
  const int tap_step_w = is_dgrad ? d.stride_w / std::gcd(d.stride_w, d.dilation_w) : 1;
  const RowLaunch by = rows_of(1LL * d.n * to_h, 1LL * tiles * parities * ((d.c + 7) / 8));
  if (wide) {
    launch<any_filter<Args, true>>(by.grid, by.block, 0, stream)(a, tiles, parities, tap_step_h, tap_step_w);
  } else {
    launch<any_filter<Args, false>>(by.grid, by.block, 0, stream)(a, tiles, parities, tap_step_h, tap_step_w);
  }
}

}  // namespace

void conv2d_fprop_depthwise(const Conv2dFprop& a, Stream stream) {
  if (is_depthwise(a.shape)) return launch_depthwise(a, stream);
  return select_dense_fprop(a.shape) == ConvVariant::tiled ? conv2d_fprop_tiled(a, stream)
                                                           : conv2d_fprop_direct(a, stream);
}

void conv2d_dgrad_depthwise(const Conv2dDgrad& a, Stream stream) {
  if (is_depthwise(a.shape)) return launch_depthwise(a, stream);
  return select_dense_dgrad(a.shape) == ConvVariant::tiled ? conv2d_dgrad_tiled(a, stream)
                                                           : conv2d_dgrad_direct(a, stream);
}

}  // namespace retrace::kernels::RETRACE_TARGET
