// Sixteen-bit floats as bits, for kernels of both targets and for the host: bf16 (8 exponent bits, 7 of
// mantissa) and IEEE f16. Conversions round to nearest, ties to even; NaN stays NaN, and what is too large
// becomes infinity.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define RETRACE_HALF __host__ __device__ inline
#else
#define RETRACE_HALF inline
#endif

namespace retrace::simt {

RETRACE_HALF std::uint32_t bits_of_float(float x) {
  std::uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
RETRACE_HALF float float_of_bits(std::uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

RETRACE_HALF float bf16_to_float(std::uint16_t bits) {
  return float_of_bits(std::uint32_t(bits) << 16);
}
RETRACE_HALF std::uint16_t float_to_bf16(float x) {
  const std::uint32_t bits = bits_of_float(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return std::uint16_t(bits >> 16 | 0x40u);
  return std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

RETRACE_HALF float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t(half & 0x8000u) << 16;
  const std::uint32_t magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400u) return float_of_bits(sign | (magnitude + (112u << 10)) << 13);
  // Zero or subnormal: a multiple of 2^-24, exact in fp32.
  const float value = float(magnitude) * 5.9604644775390625e-8f;
  return sign ? -value : value;
}
RETRACE_HALF std::uint16_t float_to_f16(float x) {
  const std::uint32_t bits = bits_of_float(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return std::uint16_t(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return std::uint16_t(sign | 0x7c00u);  // from 65520 on: infinity
  if (magnitude >= 0x38800000u) {                                      // from 2^-14 on: normal
    const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1);
    return std::uint16_t(sign | (rounded - (112u << 23)) >> 13);
  }
  // Adding 2^-24 · 2^23 leaves the multiple of 2^-24 in the lowest bits, rounded to nearest even.
  return std::uint16_t(sign | (bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3f000000u));
}

// Two in a register, the first in the lower half, as mma operands hold them.
RETRACE_HALF std::uint32_t pack_bf16(float low, float high) {
  return float_to_bf16(low) | std::uint32_t(float_to_bf16(high)) << 16;
}
RETRACE_HALF std::uint32_t pack_f16(float low, float high) {
  return float_to_f16(low) | std::uint32_t(float_to_f16(high)) << 16;
}

}  // namespace retrace::simt

#undef RETRACE_HALF
