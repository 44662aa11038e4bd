// IEEE 754 binary16 (f16) and bfloat16 to and from float, by integer arithmetic: the same bits on every host; the
// two 8-bit formats of the OCP 8-bit Floating Point Specification (revision 1.0) to float.
// Narrowing rounds to nearest, ties to even; what lies beyond the largest finite value becomes infinity.
#pragma once
#include <bit>
#include <cstdint>

namespace retrace::weights {

// Exact.
inline float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 31u;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-24
    const float magnitude = float(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);  // 112 = 127 - 15
}

inline std::uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = std::uint16_t(bits >> 16 & 0x8000u);
  const std::uint32_t x = bits & 0x7fffffffu;
  if (x > 0x7f800000u) return std::uint16_t(sign | 0x7e00u);   // NaN
  if (x >= 0x477ff000u) return std::uint16_t(sign | 0x7c00u);  // ≥ 65520, half-way past the largest, 65504
  if (x >= 0x38800000u) {                                      // ≥ 2^-14: normal
    const std::uint32_t rounded = x + 0xfffu + (x >> 13 & 1u);
    return std::uint16_t(sign | ((rounded >> 13) - (112u << 10)));
  }
  if (x <= 0x33000000u) return sign;  // ≤ 2^-25: half of the smallest subnormal ties to zero
  // In units of 2^-24 the value is significand · 2^(exponent - 126).
  const std::uint32_t significand = (x & 0x7fffffu) | 0x800000u;
  const std::uint32_t shift = 126u - (x >> 23);
  const std::uint32_t kept = significand >> shift;
  const std::uint32_t rest = significand & ((1u << shift) - 1);
  const std::uint32_t half = 1u << (shift - 1);
  const bool up = rest > half || (rest == half && (kept & 1u));
  return std::uint16_t(sign | (kept + (up ? 1u : 0u)));
}

// Exact.
inline float bf16_to_f32(std::uint16_t value) {
  return std::bit_cast<float>(std::uint32_t(value) << 16);
}

inline std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // A NaN stays one: its fraction must not round to zero.
  if ((bits & 0x7fffffffu) > 0x7f800000u) return std::uint16_t(bits >> 16 | 0x40u);
  return std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Sign, 4 bits of exponent with bias 7, 3 of fraction. No infinities: the largest exponent is one more for numbers, up
// to 448, but for 0x7f and 0xff, which are NaN. Exact.
inline float f8_e4m3_to_f32(std::uint8_t value) {
  const std::uint32_t sign = std::uint32_t(value & 0x80u) << 24;
  const std::uint32_t exponent = (value >> 3) & 15u;
  const std::uint32_t fraction = value & 7u;
  if ((value & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-9
    const float magnitude = float(fraction) * 0x1p-9f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | (exponent + 120) << 23 | fraction << 20);  // 120 = 127 - 7
}

// Sign, 5 bits of exponent with bias 15, 2 of fraction: f16 without its lower byte, infinities and NaN as there. Exact.
inline float f8_e5m2_to_f32(std::uint8_t value) {
  return f16_to_f32(std::uint16_t(value << 8));
}

}  // namespace retrace::weights
