// What every backward launcher shares: how it reads the signal that comes from the output, and what it does
// with the signal it has made for the input. A "signal" is a gradient, or relevance per unit of activation.
#pragma once
#include <cstdint>

namespace retrace::kernels {

// One bit per activation, set where it is > 0: `mask_pitch(c)` bytes per pixel, channel i in bit i % 8 of byte
// i / 8; bits past the last channel are 0.
constexpr int mask_pitch(int channels) {
  return (channels + 7) / 8;
}

// The part of a value that takes part in a sum.
enum class Part : std::uint8_t { all, positive, negative };  // x, max(x, 0), min(x, 0)

// How the incoming signal is read:
//   without denominator:  s = signal (· factor)
//   with denominator:     s = signal · factor / stab(denominator), stab(d) = d + epsilon · sgn(d), sgn(0) = +1;
//                         0 where signal · factor or stab(d) is 0
// A null `factor` counts as 1. All three have the shape of the layer's output.
struct SignalLoad {
  const float* signal = nullptr;
  const float* factor = nullptr;
  const float* denominator = nullptr;
  float epsilon = 0;
};

// How the outgoing signal leaves:  dx = mask ⊙ (own + pending).
// `pending` (shape of dx, may be dx itself) is what other consumers of x already sent; `mask` the 1-bit ReLU
// mask of x's producer. Null: left out.
struct SignalEpilogue {
  const float* pending = nullptr;
  const std::uint8_t* mask = nullptr;
};

}  // namespace retrace::kernels
