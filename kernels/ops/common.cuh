// What the kernels of this folder share: how threads are spread over pixels and channels, wide loads, warp
// sums.
#pragma once
#include <algorithm>

#include "kernels/ops/checks.h"
#include "kernels/signal.cuh"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

// --- device side ---

// quotient · divisor + rest = i. Dividing 32-bit numbers is several times cheaper on a GPU, and nearly every
// index fits.
__device__ __forceinline__ void split_index(long long i, int divisor, long long& quotient, int& rest) {
  if (i < (1LL << 32)) {
    const unsigned q = unsigned(i) / unsigned(divisor);
    quotient = q;
    rest = int(unsigned(i) - q * unsigned(divisor));
  } else {
    quotient = i / divisor;
    rest = int(i - quotient * divisor);
  }
}

// a · b + c, rounded once wherever the processor can. Spelled out where two instances of a kernel must agree
// bit by bit: left to itself, a compiler may fuse the product and the sum in one and not in the other.
__device__ __forceinline__ float multiply_add(float a, float b, float c) {
#if defined(__CUDACC__) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// V (1 or 4) neighbouring values; 4 need a 16-byte aligned address.
template <int V>
__device__ __forceinline__ void load_wide(const float* from, float (&v)[V]) {
  if constexpr (V == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
    v[0] = from[0];
  }
}
template <int V>
__device__ __forceinline__ void store_wide(float* to, const float (&v)[V]) {
  if constexpr (V == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
  } else {
    to[0] = v[0];
  }
}
template <int V>
__device__ __forceinline__ void load_wide(const std::int32_t* from, std::int32_t (&v)[V]) {
  if constexpr (V == 4) {
    const int4 four = *reinterpret_cast<const int4*>(from);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
    v[0] = from[0];
  }
}
template <int V>
__device__ __forceinline__ void store_wide(std::int32_t* to, const std::int32_t (&v)[V]) {
  if constexpr (V == 4) {
    int4 four;
    four.x = v[0], four.y = v[1], four.z = v[2], four.w = v[3];
    *reinterpret_cast<int4*>(to) = four;
  } else {
    to[0] = v[0];
  }
}

// The first `count` of 8 neighbouring values; the others read as 0 and are not written. Wide ones go as float4: then
// `count` is a multiple of 4 and the address of 16 bytes.
template <bool Wide>
__device__ __forceinline__ void load_eight(const float* from, int count, float (&v)[8]) {
#pragma unroll
  for (int half = 0; half < 8; half += 4) {
    float four[4] = {};
    if constexpr (Wide) {
      if (half < count) load_wide<4>(from + half, four);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (half + j < count) four[j] = from[half + j];
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) v[half + j] = four[j];
  }
}
template <bool Wide>
__device__ __forceinline__ void store_eight(float* to, int count, const float (&v)[8]) {
#pragma unroll
  for (int half = 0; half < 8; half += 4) {
    const float four[4] = {v[half], v[half + 1], v[half + 2], v[half + 3]};
    if constexpr (Wide) {
      if (half < count) store_wide<4>(to + half, four);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (half + j < count) to[half + j] = four[j];
      }
    }
  }
}

// dx[pixel, channel .. channel + V) = mask ⊙ (own + pending); V = 4 needs `channels` and `channel` to be
// multiples of 4, so that the four mask bits lie in one byte.
template <int V>
__device__ __forceinline__ void finish_and_store(const SignalEpilogue& e, float (&own)[V], float* dx,
                                                 long long pixel, int channel, int channels) {
  const long long i = pixel * channels + channel;
  if (e.pending) {
    float pending[V];
    load_wide<V>(e.pending + i, pending);
#pragma unroll
    for (int j = 0; j < V; ++j) own[j] += pending[j];
  }
  if (e.mask) {
    const int pitch = (channels + 7) / 8;
    const unsigned bits = unsigned(e.mask[pixel * pitch + channel / 8]) >> (channel % 8);
#pragma unroll
    for (int j = 0; j < V; ++j) own[j] = bits >> j & 1 ? own[j] : 0.0f;
  }
  store_wide<V>(dx + i, own);
}

// Sums each of N values (a power of two, at most 32) over the 32 lanes of a warp; lane l returns sum number
// l / (32 / N). Each step halves the values a lane still carries, so N sums cost N − 1 + log2(32 / N)
// shuffles, not 5 N. The tree of additions is that of a plain butterfly (lanes 16 apart first) whatever N is,
// so a sum has the same bits however many are made beside it.
template <int N>
__device__ __forceinline__ float warp_sums(float (&v)[N], int lane) {
  int bit = 16;
#pragma unroll
  for (int half = N / 2; half >= 1; half /= 2) {
    const bool upper = lane & bit;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float send = upper ? v[i] : v[i + half];
      const float keep = upper ? v[i + half] : v[i];
      v[i] = keep + __shfl_xor_sync(0xffffffffu, send, bit);
    }
    bit /= 2;
  }
#pragma unroll
  for (int other = 16 / N; other >= 1; other /= 2) v[0] += __shfl_xor_sync(0xffffffffu, v[0], other);
  return v[0];
}

// The sum of the lanes' values, in every lane.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int bit = 16; bit >= 1; bit /= 2) v += __shfl_xor_sync(0xffffffffu, v, bit);
  return v;
}
// The largest of the lanes' values, in every lane. Of numbers: a NaN loses.
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int bit = 16; bit >= 1; bit /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, v, bit);
    if (other > v) v = other;
  }
  return v;
}

// --- host side ---

inline long long blocks_for(long long work, long long per_block) {
  return (work + per_block - 1) / per_block;
}

inline dim3 grid_of(const char* launcher, long long x, long long y = 1) {
  if (x > 0x7fffffffLL || y > 65535) {
    refuse(launcher, "the grid", std::to_string(x) + " x " + std::to_string(y) + " blocks",
           "at most 2147483647 x 65535: split the batch");
  }
  return dim3(unsigned(x), unsigned(y));
}

// Block (row, i) works on items i · threads … of its row; blocks shrink to short rows.
struct RowLaunch {
  dim3 grid, block;
};
inline RowLaunch by_rows(const char* launcher, long long rows, long long per_row) {
  const long long threads = std::min(256LL, (per_row + 31) / 32 * 32);
  return {grid_of(launcher, rows, blocks_for(per_row, threads)), dim3(unsigned(threads))};
}

// Where a thread of such a launch stands, with a row of blocks per row of an image and V channels a thread: position
// (row, column) of image n in an array of `columns` columns, channel ch.
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

}  // namespace retrace::kernels::RETRACE_TARGET
