// Weight gradient as an implicit GEMM through shared memory: fp32 FMA, 8 × 8 sums per thread.
//
//   dw[k, j] = Σ_m dy[m, k] · x[m, j]    m = (n, p, q): an output pixel;  j = (r, s, c): a weight of one filter
//
// where x[m, j] is the pixel that tap (r, s) meets from m, 0 in the padding. Both operands are read along their
// contiguous axis, BK pixels at a time, and go to shared memory as they come. The columns of all taps stand side
// by side, so a stem's three channels fill a tile as well as 64 do. Each thread loads one piece of four columns
// from first to last, so taps are worked out once; where the pixels of a step lie is worked out once for the block, a
// step ahead, without a division.
//
// The sum over pixels is cut into slices (wgrad_plan.h); each block sums one slice of one tile, in rising order,
// into workspace[slice][k][j], and a second kernel adds the slices, in an order that depends on their number alone.
// A single slice goes straight to dw.
//
// Launch: x = slice × group × row tile × column tile, the last fastest. BM · BN / 64 threads; thread t sums rows
// (t / (BN / 8)) · 8 … + 7 and columns (t mod (BN / 8)) · 8 … + 7 of its tile. Both operands' tiles are
// double-buffered: the next ones are in registers while the present ones are multiplied, one barrier a step.
#include "kernels/conv/variants.h"
#include "kernels/conv/wgrad_plan.h"
#include "kernels/ops/checks.h"
#include "kernels/simt/register_tile.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

template <int BM_, int BN_>
struct Tile {
  static constexpr int BM = BM_, BN = BN_;
  static constexpr int BK = BM == 16 ? 8 : 16;  // a thread of a flat tile loads one piece a pixel
  static constexpr int threads = BM * BN / 64;
  // That a multiprocessor holds, with registers for each; sm_80's compiler would spill.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  static constexpr int blocks = 1;
#else
  static constexpr int blocks = threads == 256 ? 2 : 1;
#endif
  static constexpr int pixels_a = BN / 16, pixels_b = BM / 16;  // that all threads load at a time
  static constexpr int loads_a = (BK + pixels_a - 1) / pixels_a, loads_b = BK / pixels_b;
  static_assert(threads >= BK, "one thread for each pixel of a step");
  static_assert(BM % 16 == 0 && BN % 16 == 0 && BK % pixels_b == 0,
                "pieces must divide evenly over the threads");
};

// Where column `col` stands in shared memory: the two 16-byte halves of each thread's eight columns lie BN / 2
// apart, so that neighbouring threads read neighbouring 16 bytes.
template <int BN>
__device__ __forceinline__ int place_of(int col) {
  return (col & 4) * (BN / 8) + (col >> 3) * 4 + (col & 3);
}

// Whole: C is a multiple of 4, so four columns belong to one tap and are neighbours in x. Else each is on its own.
template <class T, bool Whole>
__global__ void __launch_bounds__(T::threads, T::blocks) wgrad_gemm(Conv2dWgrad a, WgradPlan plan) {
  constexpr int BM = T::BM, BN = T::BN, BK = T::BK;
  SHARED(float, tile_a, 2 * BK * BM);
  SHARED(float, tile_b, 2 * BK * BN);
  SHARED(int4, places, 2 * BK);

  const Conv2dShape& d = a.shape;
  const int P = d.p(), Q = d.q(), C = d.c / d.groups, K = d.k / d.groups, columns = d.r * d.s * C;
  int block = int(blockIdx.x);
  const int first_col = block % plan.column_tiles * BN;
  block /= plan.column_tiles;
  const int first_row = block % plan.row_tiles * BM;
  block /= plan.row_tiles;
  const int group = block % d.groups, slice = block / d.groups;
  const int first_pixel = slice * plan.slice_pixels;
  const int pixels = min(plan.slice_pixels, d.n * P * Q - first_pixel);

  // A: rows row_a … + 3 of pixels pixel_a, pixel_a + pixels_a, … of each step.
  const int t = threadIdx.x;
  const int row_a = t % (BM / 4) * 4, pixel_a = t / (BM / 4), rows_a = K - first_row - row_a;
  const bool wide_a = K % 4 == 0 && reinterpret_cast<std::uintptr_t>(a.dy) % 16 == 0;
  const float* dy = a.dy + 1LL * (first_pixel + pixel_a) * d.k + group * K + first_row + row_a;

  // B: columns col_b … + 3 of pixels pixel_b, pixel_b + pixels_b, …; where their taps are from the pixel's own place,
  // and how far in memory. An address may wrap on the way to an element that exists; hence unsigned.
  constexpr int taps = Whole ? 1 : 4;
  const int col_b = t % (BN / 4) * 4, pixel_b = t / (BN / 4);
  const bool wide_b = reinterpret_cast<std::uintptr_t>(a.x) % 16 == 0;
  int tap_h[taps], tap_w[taps];
  unsigned offset[taps];
  bool exists[taps];
#pragma unroll
  for (int i = 0; i < taps; ++i) {
    exists[i] = first_col + col_b + i < columns;
    const int col = exists[i] ? first_col + col_b + i : 0;
    tap_h[i] = col / C / d.s * d.dilation_h - d.pad_h;
    tap_w[i] = col / C % d.s * d.dilation_w - d.pad_w;
    offset[i] = (unsigned(tap_h[i]) * unsigned(d.w) + unsigned(tap_w[i])) * unsigned(d.c) +
                unsigned(group * C + col % C);
  }
  // Channels of neighbouring pixels of one filter row, as nearly always in a stem: one run in memory.
  [[maybe_unused]] const bool run = exists[taps - 1] && tap_h[0] == tap_h[taps - 1] &&
                                    offset[taps - 1] - offset[0] == 3 && d.groups == 1 && d.dilation_w == 1;

  // Where each pixel of a step has its tap (0, 0) if there were no padding: row, column, offset in memory. The first
  // BK threads find that out for all, a step ahead, each going on from its own last pixel.
  const int q_step = BK % Q, p_step = BK / Q % P, n_step = BK / Q / P;
  int q = (first_pixel + t) % Q, p = (first_pixel + t) / Q % P, n = (first_pixel + t) / Q / P;
  const auto place = [&](int buffer) {
    if (t >= BK) return;
    const int h = p * d.stride_h, w = q * d.stride_w;
    const unsigned from =
        ((unsigned(n) * unsigned(d.h) + unsigned(h)) * unsigned(d.w) + unsigned(w)) * unsigned(d.c);
    places[buffer * BK + t] = make_int4(h, w, int(from), 0);
    q += q_step;
    const int carry_q = q >= Q;
    q -= carry_q ? Q : 0;
    p += p_step + carry_q;
    const int carry_p = p >= P;
    p -= carry_p ? P : 0;
    n += n_step + carry_p;
  };

  int left = pixels;  // from the first pixel of the step that is fetched next
  float4 next_a[T::loads_a], next_b[T::loads_b];
  const auto fetch = [&](int buffer) {
#pragma unroll
    for (int l = 0; l < T::loads_a; ++l) {
      const int pixel = pixel_a + l * T::pixels_a;
      float v[4] = {0, 0, 0, 0};
      if (pixel < left && rows_a > 0 && (BK % T::pixels_a == 0 || pixel < BK)) {
        const float* const from = dy + 1LL * l * T::pixels_a * d.k;
        if (wide_a) {
          const float4 four = *reinterpret_cast<const float4*>(from);
          v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (i < rows_a) v[i] = from[i];
          }
        }
      }
      next_a[l] = make_float4(v[0], v[1], v[2], v[3]);
    }
#pragma unroll
    for (int l = 0; l < T::loads_b; ++l) {
      float v[4] = {0, 0, 0, 0};
      if (pixel_b + l * T::pixels_b < left) {
        const int4 at = places[buffer * BK + pixel_b + l * T::pixels_b];
        const unsigned pixel = unsigned(at.z);
        const auto meets = [&](int i) {
          return exists[i] && unsigned(at.x + tap_h[i]) < unsigned(d.h) &&
                 unsigned(at.y + tap_w[i]) < unsigned(d.w);
        };
        if constexpr (Whole) {
          if (meets(0)) {
            const float* const from = a.x + (pixel + offset[0]);
            if (wide_b) {
              const float4 four = *reinterpret_cast<const float4*>(from);
              v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
            } else {
#pragma unroll
              for (int i = 0; i < 4; ++i) v[i] = from[i];
            }
          }
        } else if (run && meets(0) && meets(3)) {
          const float* const from = a.x + (pixel + offset[0]);
#pragma unroll
          for (int i = 0; i < 4; ++i) v[i] = from[i];
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (meets(i)) v[i] = a.x[pixel + offset[i]];
          }
        }
      }
      next_b[l] = make_float4(v[0], v[1], v[2], v[3]);
    }
    dy += 1LL * BK * d.k;
    left -= BK;
  };
  const auto store = [&](int buffer) {
    float* const as = tile_a + buffer * BK * BM + row_a;
    float* const bs = tile_b + buffer * BK * BN + place_of<BN>(col_b);
#pragma unroll
    for (int l = 0; l < T::loads_a; ++l) {
      const int pixel = pixel_a + l * T::pixels_a;
      if (BK % T::pixels_a == 0 || pixel < BK) *reinterpret_cast<float4*>(as + pixel * BM) = next_a[l];
    }
#pragma unroll
    for (int l = 0; l < T::loads_b; ++l) {
      *reinterpret_cast<float4*>(bs + (pixel_b + l * T::pixels_b) * BN) = next_b[l];
    }
  };

  const int my_rows = t / (BN / 8) * 8, my_cols = t % (BN / 8);
  RegisterTile sum;
  sum.clear();
  place(0);
  __syncthreads();
  fetch(0);
  int buffer = 0;
  for (bool more = true; more; buffer ^= 1) {
    store(buffer);
    place(buffer ^ 1);
    __syncthreads();
    more = left > 0;
    if (more) fetch(buffer ^ 1);
    const float* const as = tile_a + buffer * BK * BM + my_rows;
    const float* const bs = tile_b + buffer * BK * BN + my_cols * 4;
#pragma unroll
    for (int m = 0; m < BK; ++m) sum.multiply_add(as + m * BM, bs + m * BN, bs + m * BN + BN / 2);
  }

  const bool alone = plan.slices == 1;
  float* const out = alone ? a.dw : a.workspace + 1LL * slice * d.k * columns;
  const int col = first_col + my_cols * 8;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first_row + my_rows + i;
    if (row >= K) break;
    float* const to = out + 1LL * (group * K + row) * columns + col;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      if (col + j < columns) to[j] = alone && a.accumulate ? to[j] + sum.at(i, j) : sum.at(i, j);
    }
  }
}

// dw = Σ slices, added to dw if asked for. Thread (i, part) adds its `each` slices of V neighbouring weights in order,
// then the first part adds the parts' sums in order. V = 4 needs a multiple of 4 weights, 16-byte aligned.
template <int Parts, int V>
__global__ void __launch_bounds__(32 * Parts) sum_slices(Conv2dWgrad a, long long count, int slices) {
  SHARED(float, sums, 32 * Parts * V);
  const long long weight = (32LL * blockIdx.x + threadIdx.x) * V;
  const int part = int(threadIdx.y), each = (slices + Parts - 1) / Parts;
  float sum[V] = {};
  if (weight < count) {
#pragma unroll 4
    for (int i = part * each; i < min(slices, (part + 1) * each); ++i) {
      const float* const from = a.workspace + i * count + weight;
      if constexpr (V == 4) {
        const float4 four = *reinterpret_cast<const float4*>(from);
        sum[0] += four.x, sum[1] += four.y, sum[2] += four.z, sum[3] += four.w;
      } else {
        sum[0] += *from;
      }
    }
  }
  if constexpr (Parts > 1) {
#pragma unroll
    for (int j = 0; j < V; ++j) sums[(part * V + j) * 32 + threadIdx.x] = sum[j];
    __syncthreads();
    if (part > 0) return;
    for (int i = 1; i < Parts; ++i) {
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += sums[(i * V + j) * 32 + threadIdx.x];
    }
  }
  if (weight >= count) return;
  float* const to = a.dw + weight;
  if constexpr (V == 4) {
    float4 four = make_float4(sum[0], sum[1], sum[2], sum[3]);
    if (a.accumulate) {
      const float4 before = *reinterpret_cast<const float4*>(to);
      four = make_float4(before.x + four.x, before.y + four.y, before.z + four.z, before.w + four.w);
    }
    *reinterpret_cast<float4*>(to) = four;
  } else {
    *to = a.accumulate ? *to + sum[0] : sum[0];
  }
}

template <int V>
void launch_sum(const Conv2dWgrad& a, int slices, Stream stream) {
  const long long count = a.shape.weight_size();
  const unsigned blocks = unsigned((count + 32 * V - 1) / (32 * V));
  if (slices < 32) {
    launch<sum_slices<1, V>>(blocks, 32, 0, stream)(a, count, slices);
  } else {
    launch<sum_slices<8, V>>(blocks, dim3(32, 8), 0, stream)(a, count, slices);
  }
}

template <int BM, int BN, bool Whole>
void launch_tile(const Conv2dWgrad& a, const WgradPlan& plan, Stream stream) {
  using T = Tile<BM, BN>;
  launch<wgrad_gemm<T, Whole>>(unsigned(plan.blocks(a.shape)), T::threads, 0, stream)(a, plan);
}

template <int BM>
void launch_rows(const Conv2dWgrad& a, const WgradPlan& plan, Stream stream) {
  if (a.shape.c / a.shape.groups % 4 != 0) {
    return plan.tile_columns == 32 ? launch_tile<BM, 32, false>(a, plan, stream)
                                   : launch_tile<BM, 160, false>(a, plan, stream);
  }
  if constexpr (BM < 128) {
    if (plan.tile_columns == 144) return launch_tile<BM, 144, true>(a, plan, stream);
  }
  switch (plan.tile_columns) {
    case 32:
      return launch_tile<BM, 32, true>(a, plan, stream);
    case 64:
      return launch_tile<BM, 64, true>(a, plan, stream);
    default:
      return launch_tile<BM, 128, true>(a, plan, stream);
  }
}

}  // namespace

void conv2d_wgrad_tiled(const Conv2dWgrad& a, Stream stream) {
  const WgradPlan plan = plan_wgrad(a.shape);
  if (plan.blocks(a.shape) >= 1LL << 31) {
    throw Error("tiled weight gradient, " + a.shape.describe() + ": 2^31 tiles or more are not supported");
  }
  switch (plan.tile_rows) {
    case 16:
      launch_rows<16>(a, plan, stream);
      break;
    case 32:
      launch_rows<32>(a, plan, stream);
      break;
    case 64:
      launch_rows<64>(a, plan, stream);
      break;
    default:
      launch_rows<128>(a, plan, stream);
  }
  if (plan.slices > 1) conv2d_wgrad_add_slices(a, plan.slices, stream);
}

void conv2d_wgrad_add_slices(const Conv2dWgrad& a, int slices, Stream stream) {
  if (a.shape.weight_size() % 4 == 0 && aligned({a.dw, a.workspace}, 16)) {
    launch_sum<4>(a, slices, stream);
  } else {
    launch_sum<1>(a, slices, stream);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
