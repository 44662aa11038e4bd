// What every convolution variant does with a finished sum. Shared, so that variants can differ only in how they
// add.
#pragma once
#include "kernels/conv/conv.h"
#include "kernels/ops/common.cuh"
#include "kernels/signal.cuh"
#include "kernels/simt/eight.h"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

// alpha · sum + bias + residual, ReLU'd if asked for; the last two matter only where `a` has them.
__device__ __forceinline__ float output_value(const Conv2dFprop& a, float sum, float bias, float residual) {
  float y = a.alpha * sum;
  if (a.bias) y += bias;
  if (a.residual) y += residual;
  return a.relu && y < 0 ? 0.0f : y;  // a NaN stays one
}

// The output at `index`, the flat NPQK index.
__device__ __forceinline__ float finish_output(const Conv2dFprop& a, float sum, long long index,
                                               int channel) {
  return output_value(a, sum, a.bias ? a.bias[channel] : 0.0f, a.residual ? a.residual[index] : 0.0f);
}

// mask ⊙ (alpha · part(multiply) · sum + pending)
__device__ __forceinline__ float finish_input(const Conv2dDgrad& a, float sum, long long pixel, int channel) {
  float dx = a.alpha * sum;
  if (a.multiply) dx *= part_of(a.part, a.multiply[pixel * a.shape.c + channel]);
  return finish_signal(a.epilogue, dx, pixel, channel, a.shape.c);
}

// Eight neighbouring channels at a time, with 16-byte accesses where `wide_epilogue` says so.

template <class... Pointers>
__device__ __forceinline__ bool all_aligned(Pointers... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) | ...) & 15) == 0;
}
__device__ __forceinline__ bool wide_epilogue(const Conv2dFprop& a) {
  return a.shape.k / a.shape.groups % 4 == 0 && all_aligned(a.y, a.bias, a.residual);
}
__device__ __forceinline__ bool wide_epilogue(const Conv2dDgrad& a) {
  return a.shape.c / a.shape.groups % 4 == 0 && all_aligned(a.dx, a.multiply, a.epilogue.pending);
}
__device__ __forceinline__ void load_eight(bool wide, const float* from, int count, float (&v)[8]) {
  wide ? load_eight<true>(from, count, v) : load_eight<false>(from, count, v);
}
__device__ __forceinline__ void store_eight(bool wide, float* to, int count, const float (&v)[8]) {
  wide ? store_eight<true>(to, count, v) : store_eight<false>(to, count, v);
}

// Makes outputs of the sums v of `channel` and the seven after it, `count` of which exist, writes them, and returns which are
// above 0 as bits.
__device__ __forceinline__ unsigned finish_outputs(const Conv2dFprop& a, bool wide, float (&v)[8],
                                                   long long row, int channel, int count) {
  float bias[8] = {}, residual[8] = {};
  const long long index = row * a.shape.k + channel;
  if (a.bias) load_eight(wide, a.bias + channel, count, bias);
  if (a.residual) load_eight(wide, a.residual + index, count, residual);
  unsigned positive = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    v[j] = output_value(a, v[j], bias[j], residual[j]);
    positive |= unsigned(j < count && v[j] > 0) << j;
  }
  store_eight(wide, a.y + index, count, v);
  return positive;
}

// Makes the input's signal at eight channels of the sums v and writes it.
__device__ __forceinline__ void finish_inputs(const Conv2dDgrad& a, bool wide, float (&v)[8], long long pixel,
                                              int channel, int count) {
  const long long index = pixel * a.shape.c + channel;
#pragma unroll
  for (int j = 0; j < 8; ++j) v[j] *= a.alpha;
  if (a.multiply) {
    float by[8];
    load_eight(wide, a.multiply + index, count, by);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] *= part_of(a.part, by[j]);
  }
  const SignalEpilogue& e = a.epilogue;
  if (e.pending) {
    float pending[8];
    load_eight(wide, e.pending + index, count, pending);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] += pending[j];
  }
  if (e.mask) {
    if (channel % 8 == 0) {
      const unsigned bits = e.mask[pixel * ((a.shape.c + 7) / 8) + channel / 8];
#pragma unroll
      for (int j = 0; j < 8; ++j) v[j] = bits >> j & 1 ? v[j] : 0.0f;
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (j < count && !mask_bit(e.mask, pixel, channel + j, a.shape.c)) v[j] = 0;
      }
    }
  }
  store_eight(wide, a.dx + index, count, v);
}

// The same for eight channels that all exist, where everything is 16-byte aligned.

__device__ __forceinline__ void part_of(Part part, Eight& v) {
  if (part == Part::positive) v.positive_part();
  if (part == Part::negative) v.negative_part();
}

// Returns the bits of the mask, if there is one.
__device__ __forceinline__ unsigned finish_outputs(const Conv2dFprop& a, Eight& v, long long row,
                                                   int channel) {
  const long long index = row * a.shape.k + channel;
  Eight more;
  v.scale(a.alpha);
  if (a.bias) {
    more.load(a.bias + channel);
    v.add(more);
  }
  if (a.residual) {
    more.load(a.residual + index);
    v.add(more);
  }
  if (a.relu) v.positive_part();
  v.store(a.y + index);
  return a.relu_mask ? v.positive_bits() : 0;
}

__device__ __forceinline__ void finish_inputs(const Conv2dDgrad& a, Eight& v, long long pixel, int channel) {
  const long long index = pixel * a.shape.c + channel;
  const SignalEpilogue& e = a.epilogue;
  Eight more;
  v.scale(a.alpha);
  if (a.multiply) {
    more.load(a.multiply + index);
    part_of(a.part, more);
    v.multiply(more);
  }
  if (e.pending) {
    more.load(e.pending + index);
    v.add(more);
  }
  if (e.mask) v.keep(e.mask[pixel * ((a.shape.c + 7) / 8) + channel / 8]);
  v.store(a.dx + index);
}

}  // namespace retrace::kernels::RETRACE_TARGET
