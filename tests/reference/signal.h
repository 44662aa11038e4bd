// signal.h and the parts and masks of forward kernels, in float64.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/signal.h"

namespace retrace::reference {

using Values = std::vector<double>;

inline double part(kernels::Part which, double x) {
  switch (which) {
    case kernels::Part::positive:
      return x < 0 ? 0 : x;
    case kernels::Part::negative:
      return x > 0 ? 0 : x;
    case kernels::Part::all:
      break;
  }
  return x;
}

// Empty vectors stand for what is left out.
inline Values load(const std::vector<float>& signal, const std::vector<float>& factor,
                   const std::vector<float>& denominator, double epsilon) {
  Values s(signal.begin(), signal.end());
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (!factor.empty()) s[i] *= factor[i];
    if (denominator.empty()) continue;
    const double d = denominator[i] < 0 ? denominator[i] - epsilon : denominator[i] + epsilon;
    s[i] = s[i] == 0 || d == 0 ? 0 : s[i] / d;
  }
  return s;
}

inline bool bit(const std::vector<std::uint8_t>& mask, std::size_t pixel, std::size_t channel,
                std::size_t channels) {
  return mask[pixel * ((channels + 7) / 8) + channel / 8] >> (channel % 8) & 1;
}

// One bit per value that is > 0.
inline std::vector<std::uint8_t> mask_of(const Values& y, std::size_t channels) {
  const std::size_t pixels = y.size() / channels, pitch = (channels + 7) / 8;
  std::vector<std::uint8_t> mask(pixels * pitch, 0);
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 0) mask[i / channels * pitch + i % channels / 8] |= std::uint8_t(1u << (i % channels % 8));
  }
  return mask;
}

// mask ⊙ (own + pending)
inline void finish(Values& own, const std::vector<float>& pending, const std::vector<std::uint8_t>& mask,
                   std::size_t channels) {
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (!pending.empty()) own[i] += pending[i];
    if (!mask.empty() && !bit(mask, i / channels, i % channels, channels)) own[i] = 0;
  }
}

inline void relu(Values& y) {
  for (double& v : y) v = v < 0 ? 0 : v;
}

}  // namespace retrace::reference
