// Implicit GEMM through shared memory: fp32 FMA, 8 × 8 sums per thread.
//
// fprop and dgrad are the same gather. An output row (n, i, j) of a lattice sums, over taps (r, s) and reduction
// channels c,
//
//     source[n, i · step_h + offset_h(r), j · step_w + offset_w(s), c] · weight[tap, c, column]
//
//   fprop  the lattice is all of P × Q, step = stride, offset(r) = r · dilation − pad; c runs over input
//          channels, columns are output channels
//   dgrad  there is one lattice for each parity (h mod stride, w mod stride) of the input pixel, step = 1; only
//          taps with (parity + pad − r · dilation) divisible by the stride meet it, at that quotient's offset. So
//          no thread ever multiplies by one of the zeros between strided outputs. c runs over output channels,
//          columns are input channels
//
// The reduction runs in the order (r, s, c), BK channels of one tap at a time, so that a 16-byte load stays inside
// one pixel, and every output adds in that same order whatever the tile: a batch equals its singles bitwise.
// With fewer than 8 input channels (a stem) fprop merges s and c: a filter row is contiguous in memory there.
//
// Launch: x = row tiles, y = column tiles, z = parity × group. BM · BN / 64 threads; thread t sums rows
// (t / (BN / 8)) · 8 … + 7 and columns (t mod (BN / 8)) · 8 … + 7 of its tile. Both tiles are double-buffered:
// the next ones are in registers while the present ones are multiplied, one barrier a step.
#include <type_traits>

#include "kernels/conv/epilogue.cuh"
#include "kernels/conv/variants.h"
#include "kernels/simt/register_tile.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

template <int BM_, int BN_, int BK_, int Warps>
struct Tile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_;
  static constexpr int threads = BM * BN / 64;
  // A multiprocessor's registers go to so many warps: as many as leave each thread enough not to spill on sm_90. For
  // earlier ones the compiler takes more registers, so nothing is asked there.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  static constexpr int blocks = 1;
#else
  static constexpr int blocks = Warps * 32 / threads;
#endif
  static constexpr int pitch_a = BM + 4;  // spreads the transposing stores over the banks
  static constexpr int high_b = BN / 2 + 4, pitch_b = BN + 4;
  static constexpr int loads_a = BM * BK / 4 / threads;
  static constexpr int loads_b = (BN * BK / 4 + threads - 1) / threads;
  static_assert(BM * BK % (4 * threads) == 0,
                "every thread must load the same number of 16-byte pieces of A");
  static_assert(BK % 4 == 0 && BN % 8 == 0 && BM % 8 == 0, "tiles are made of 8 x 8 sums and 16-byte loads");
};

// Where column `col` of the weight tile stands in shared memory: the two 16-byte halves of each thread's eight
// columns lie apart, so that neighbouring threads read neighbouring 16 bytes.
template <class T>
__device__ __forceinline__ int place_of(int col) {
  return (col & 4 ? T::high_b : 0) + (col >> 3) * 4 + (col & 3);
}

// One reduction step's position: tap and first channel.
struct Step {
  int r, s, c;
};

template <class T, class Args, bool Merged>
__global__ void __launch_bounds__(T::threads, T::blocks) gather_gemm(Args a) {
  constexpr bool is_dgrad = std::is_same_v<Args, Conv2dDgrad>;
  constexpr int BM = T::BM, BN = T::BN, BK = T::BK;
  SHARED(float, tile_a, 2 * BK * T::pitch_a);
  SHARED(float, tile_b, 2 * BK * T::pitch_b);

  const Conv2dShape& d = a.shape;
  const int P = d.p(), Q = d.q(), C = d.c / d.groups, K = d.k / d.groups;
  const int group = blockIdx.z % d.groups, phase = blockIdx.z / d.groups;
  const int phase_h = is_dgrad ? phase / d.stride_w : 0, phase_w = is_dgrad ? phase % d.stride_w : 0;
  const int rows_h = is_dgrad ? (d.h - phase_h + d.stride_h - 1) / d.stride_h : P;
  const int rows_w = is_dgrad ? (d.w - phase_w + d.stride_w - 1) / d.stride_w : Q;
  const int rows = d.n * rows_h * rows_w;
  const int first_row = blockIdx.x * BM, first_col = blockIdx.y * BN;
  if (first_row >= rows) return;  // this parity has fewer rows than the largest; the whole block leaves

  const int source_h = is_dgrad ? P : d.h, source_w = is_dgrad ? Q : d.w, source_c = is_dgrad ? d.k : d.c;
  const int step_h = is_dgrad ? 1 : d.stride_h, step_w = is_dgrad ? 1 : d.stride_w;
  const int reduction = is_dgrad ? K : Merged ? d.s * C : C;
  const int columns = is_dgrad ? C : K;
  const int taps_s = Merged ? 1 : d.s;
  const int weight_pitch = d.r * d.s * C;  // between output channels

  const auto meets = [](int parity, int pad, int tap, int dilation, int stride) {
    return !is_dgrad || (parity + pad - tap * dilation) % stride == 0;
  };
  const auto next_r = [&](int r) {
    while (r < d.r && !meets(phase_h, d.pad_h, r, d.dilation_h, d.stride_h)) ++r;
    return r;
  };
  const auto next_s = [&](int s) {
    while (s < taps_s && !meets(phase_w, d.pad_w, s, d.dilation_w, d.stride_w)) ++s;
    return s;
  };

  // What this thread loads of A: one 16-byte piece of each of loads_a rows.
  const int t = threadIdx.x;
  int row_image[T::loads_a], row_h[T::loads_a], row_w[T::loads_a], base[T::loads_a];
  bool inside[T::loads_a];
#pragma unroll
  for (int l = 0; l < T::loads_a; ++l) {
    const int row = first_row + (t + l * T::threads) / (BK / 4);
    const bool exists = row < rows;
    row_w[l] = exists ? row % rows_w * step_w : 0;
    row_h[l] = exists ? row / rows_w % rows_h * step_h : -(1 << 30);  // outside, whatever the tap
    row_image[l] = exists ? row / rows_w / rows_h : 0;
  }
  const auto set_tap = [&](const Step& at) {
    const int offset_h =
        is_dgrad ? (phase_h + d.pad_h - at.r * d.dilation_h) / d.stride_h : at.r * d.dilation_h - d.pad_h;
    const int offset_w =
        is_dgrad ? (phase_w + d.pad_w - at.s * d.dilation_w) / d.stride_w : at.s * d.dilation_w - d.pad_w;
#pragma unroll
    for (int l = 0; l < T::loads_a; ++l) {
      const int h = row_h[l] + offset_h, w = row_w[l] + offset_w;
      inside[l] = h >= 0 && h < source_h && (Merged || (w >= 0 && w < source_w));
      base[l] = inside[l]
                    ? Merged ? (row_image[l] * source_h + h) * source_w * source_c
                             : ((row_image[l] * source_h + h) * source_w + w) * source_c + group * reduction
                    : 0;
    }
  };

  const float* source;
  bool plain = true, unchanged;  // every element is an element of source; is that element as it stands
  if constexpr (is_dgrad) {
    source = a.dy.signal;
    unchanged = plain = !a.dy.factor && !a.dy.denominator;
  } else {
    source = a.x;
    unchanged = a.part == Part::all;
  }
  const auto read = [&](int i) {
    if constexpr (is_dgrad) {
      return plain ? source[i] : load_signal(a.dy, i);
    } else {
      return part_of(a.part, source[i]);
    }
  };
  const bool wide_a =
      !Merged && plain && reduction % 4 == 0 && reinterpret_cast<std::uintptr_t>(source) % 16 == 0;
  const bool wide_b =
      (is_dgrad ? C % 4 == 0 : !Merged && C % 4 == 0) && reinterpret_cast<std::uintptr_t>(a.w) % 16 == 0;

  float4 next_a[T::loads_a], next_b[T::loads_b];
  const auto fetch = [&](const Step& at) {
#pragma unroll
    for (int l = 0; l < T::loads_a; ++l) {
      const int c = at.c + (t + l * T::threads) % (BK / 4) * 4;
      float v[4] = {0, 0, 0, 0};
      if (inside[l] && c < reduction) {
        if (wide_a) {
          const float4 four = *reinterpret_cast<const float4*>(source + base[l] + c);
          v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
          if constexpr (!is_dgrad) {
            if (a.part != Part::all) {
#pragma unroll
              for (int i = 0; i < 4; ++i) v[i] = part_of(a.part, v[i]);
            }
          }
        } else {
          // In a merged row the channel index runs on over the pixels; the row's ends are where padding begins.
          const int from = Merged ? (row_w[l] - d.pad_w) * source_c : 0;
          const int end = Merged ? source_w * source_c : reduction;
          const bool whole = c + 4 <= reduction && from + c >= 0 && from + c + 4 <= end;
          if (whole && unchanged) {
            const float* const four = source + base[l] + from + c;
#pragma unroll
            for (int i = 0; i < 4; ++i) v[i] = four[i];
          } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if (whole || (c + i < reduction && from + c + i >= 0 && from + c + i < end))
                v[i] = read(base[l] + from + c + i);
            }
          }
        }
      }
      next_a[l] = make_float4(v[0], v[1], v[2], v[3]);
    }
    const int tap = (at.r * d.s + at.s) * C;
#pragma unroll
    for (int l = 0; l < T::loads_b; ++l) {
      const int piece = t + l * T::threads;
      float v[4] = {0, 0, 0, 0};
      if (BN * BK / 4 % T::threads == 0 || piece < BN * BK / 4) {
        // fprop: 4 reduction channels of one column; dgrad: 4 columns of one reduction channel
        const int col = first_col + (is_dgrad ? piece % (BN / 4) * 4 : piece / (BK / 4));
        const int c = at.c + (is_dgrad ? piece / (BN / 4) : piece % (BK / 4) * 4);
        const int k = group * K + (is_dgrad ? c : col), channel = is_dgrad ? col : c;
        if (c < reduction && col < columns) {
          const float* w = a.w + 1LL * k * weight_pitch + tap + channel;
          if (wide_b) {
            const float4 four = *reinterpret_cast<const float4*>(w);
            v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
          } else {
            const int end = is_dgrad ? columns : reduction;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if (channel + i < end) v[i] = w[i];
            }
          }
        }
      }
      next_b[l] = make_float4(v[0], v[1], v[2], v[3]);
    }
  };
  const auto store = [&](int buffer) {
    float* const as = tile_a + buffer * BK * T::pitch_a;
    float* const bs = tile_b + buffer * BK * T::pitch_b;
#pragma unroll
    for (int l = 0; l < T::loads_a; ++l) {
      const int piece = t + l * T::threads, row = piece / (BK / 4), c = piece % (BK / 4) * 4;
      as[(c + 0) * T::pitch_a + row] = next_a[l].x;
      as[(c + 1) * T::pitch_a + row] = next_a[l].y;
      as[(c + 2) * T::pitch_a + row] = next_a[l].z;
      as[(c + 3) * T::pitch_a + row] = next_a[l].w;
    }
#pragma unroll
    for (int l = 0; l < T::loads_b; ++l) {
      const int piece = t + l * T::threads;
      if (BN * BK / 4 % T::threads != 0 && piece >= BN * BK / 4) continue;
      if constexpr (is_dgrad) {
        const int col = piece % (BN / 4) * 4, c = piece / (BN / 4);
        *reinterpret_cast<float4*>(bs + c * T::pitch_b + place_of<T>(col)) = next_b[l];
      } else {
        const int col = place_of<T>(piece / (BK / 4)), c = piece % (BK / 4) * 4;
        bs[(c + 0) * T::pitch_b + col] = next_b[l].x;
        bs[(c + 1) * T::pitch_b + col] = next_b[l].y;
        bs[(c + 2) * T::pitch_b + col] = next_b[l].z;
        bs[(c + 3) * T::pitch_b + col] = next_b[l].w;
      }
    }
  };

  const int my_rows = t / (BN / 8) * 8, my_cols = t % (BN / 8);
  RegisterTile sum;
  sum.clear();

  Step at{next_r(0), next_s(0), 0};
  const int first_s = at.s;
  if (at.r < d.r && at.s < taps_s) {  // a parity that no tap meets only runs the epilogue
    set_tap(at);
    fetch(at);
    int buffer = 0;
    for (bool more = true; more; buffer ^= 1) {
      store(buffer);
      __syncthreads();
      at.c += BK;
      if (at.c >= reduction) {
        at.c = 0;
        at.s = next_s(at.s + 1);
        if (at.s >= taps_s) {
          at.s = first_s;
          at.r = next_r(at.r + 1);
        }
        more = at.r < d.r;
        if (more) set_tap(at);
      }
      if (more) fetch(at);
      const float* const as = tile_a + buffer * BK * T::pitch_a + my_rows;
      const float* const bs = tile_b + buffer * BK * T::pitch_b + my_cols * 4;
#pragma unroll
      for (int c = 0; c < BK; ++c) {
        sum.multiply_add(as + c * T::pitch_a, bs + c * T::pitch_b, bs + c * T::pitch_b + T::high_b);
      }
    }
  }

  const int col = first_col + my_cols * 8;
  if (col >= columns) return;
  const int count = columns - col < 8 ? columns - col : 8;
  const bool wide = wide_epilogue(a);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first_row + my_rows + i;
    if (row >= rows) break;
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = sum.at(i, j);
    if constexpr (is_dgrad) {
      const int w = row % rows_w * d.stride_w + phase_w, h = row / rows_w % rows_h * d.stride_h + phase_h;
      const long long pixel = (1LL * (row / rows_w / rows_h) * d.h + h) * d.w + w;
      finish_inputs(a, wide, v, pixel, group * C + col, count);
    } else {
      const unsigned positive = finish_outputs(a, wide, v, row, group * K + col, count);
      // The launcher makes sure that eight columns of a group are eight bits of one byte.
      if (a.relu_mask) {
        a.relu_mask[1LL * row * mask_pitch(d.k) + (group * K + col) / 8] =
            static_cast<std::uint8_t>(positive);
      }
    }
  }
}

template <class T, bool Merged, class Args>
void launch_tile(const Args& a, int rows, int columns, int z, Stream stream) {
  const dim3 grid(unsigned((rows + T::BM - 1) / T::BM), unsigned((columns + T::BN - 1) / T::BN), unsigned(z));
  launch<gather_gemm<T, Args, Merged>>(grid, T::threads, 0, stream)(a);
}

void require_layers(const Conv2dShape& shape, int layers) {
  if (layers > max_layers) {
    throw Error("tiled convolution, " + shape.describe() + ": groups times strides must be at most 65535");
  }
}

// The widest tile that gives every multiprocessor of a large GPU two blocks, else the smallest: a large tile reads
// less, but many small ones share the work out better. Narrow ones for few columns.
template <class Args>
void choose_tile(const Args& a, int rows, int columns, int z, bool merged, Stream stream) {
  if constexpr (std::is_same_v<Args, Conv2dFprop>) {
    if (merged) {
      return columns <= 16   ? launch_tile<Tile<128, 16, 8, 8>, true>(a, rows, columns, z, stream)
             : columns <= 32 ? launch_tile<Tile<128, 32, 8, 12>, true>(a, rows, columns, z, stream)
                             : launch_tile<Tile<128, 64, 8, 12>, true>(a, rows, columns, z, stream);
    }
  }
  if (columns <= 16) return launch_tile<Tile<128, 16, 8, 8>, false>(a, rows, columns, z, stream);
  if (columns <= 32) return launch_tile<Tile<128, 32, 16, 8>, false>(a, rows, columns, z, stream);
  const auto enough = [&](int tile_rows, int tile_columns) {
    constexpr long long wanted = 264;
    return 1LL * ((rows + tile_rows - 1) / tile_rows) * ((columns + tile_columns - 1) / tile_columns) * z >=
           wanted;
  };
  if (columns > 64 && enough(128, 128))
    return launch_tile<Tile<128, 128, 16, 16>, false>(a, rows, columns, z, stream);
  if (enough(128, 64)) return launch_tile<Tile<128, 64, 16, 12>, false>(a, rows, columns, z, stream);
  return launch_tile<Tile<64, 64, 16, 12>, false>(a, rows, columns, z, stream);
}

}  // namespace

void conv2d_fprop_tiled(const Conv2dFprop& a, Stream stream) {
  const Conv2dShape& d = a.shape;
  // Eight channels of one thread are one byte of the mask only where groups begin at whole bytes.
  if (a.relu_mask && d.groups > 1 && d.k / d.groups % 8 != 0) return conv2d_fprop_direct(a, stream);
  require_layers(d, d.groups);
  const bool merged = d.groups == 1 && d.dilation_w == 1 && d.c < 8 && d.s > 1;
  choose_tile(a, d.n * d.p() * d.q(), d.k / d.groups, d.groups, merged, stream);
}

void conv2d_dgrad_tiled(const Conv2dDgrad& a, Stream stream) {
  const Conv2dShape& d = a.shape;
  const int layers = dgrad_layers(d);
  require_layers(d, layers);
  const int rows = d.n * ((d.h - 1) / d.stride_h + 1) * ((d.w - 1) / d.stride_w + 1);
  choose_tile(a, rows, d.c / d.groups, layers, false, stream);
}

}  // namespace retrace::kernels::RETRACE_TARGET
