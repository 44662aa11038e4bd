// Device side of signal.h: what forward kernels do with parts and masks, and how backward kernels read the
// signal of the output and finish the one of the input.
#pragma once
#include "kernels/signal.h"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

// x, max(x, 0) or min(x, 0). NaN stays NaN in every part: a broken network must show.
__device__ __forceinline__ float part_of(Part part, float x) {
  if (part == Part::positive) return x < 0.0f ? 0.0f : x;
  if (part == Part::negative) return x > 0.0f ? 0.0f : x;
  return x;
}

// d + epsilon · sgn(d), sgn(0) = +1.
__device__ __forceinline__ float stabilize(float d, float epsilon) {
  return d >= 0.0f ? d + epsilon : d - epsilon;
}

// s / stab(denominator). 0 / 0 must give 0: no relevance came, or nothing can carry it.
__device__ __forceinline__ float stable_quotient(float s, float denominator, float epsilon) {
  const float d = stabilize(denominator, epsilon);
  return s == 0.0f || d == 0.0f ? 0.0f : s / d;
}

// Element `i` of the output's signal, as SignalLoad describes it.
__device__ __forceinline__ float load_signal(const SignalLoad& load, long long i) {
  float s = load.signal[i];
  if (load.factor) s *= load.factor[i];
  return load.denominator ? stable_quotient(s, load.denominator[i], load.epsilon) : s;
}

// True where the activation at (pixel, channel) was > 0.
__device__ __forceinline__ bool mask_bit(const std::uint8_t* mask, long long pixel, int channel,
                                         int channels) {
  const int pitch = (channels + 7) / 8;  // mask_pitch(), spelled out: nvcc calls no host function here
  return mask[pixel * pitch + channel / 8] >> (channel % 8) & 1;
}

// mask ⊙ (own + pending) at (pixel, channel). The mask selects and does not multiply: a masked NaN or
// infinity becomes 0, as in a gradient.
__device__ __forceinline__ float finish_signal(const SignalEpilogue& e, float own, long long pixel,
                                               int channel, int channels) {
  if (e.mask && !mask_bit(e.mask, pixel, channel, channels)) return 0.0f;
  return e.pending ? own + e.pending[pixel * channels + channel] : own;
}

}  // namespace retrace::kernels::RETRACE_TARGET
