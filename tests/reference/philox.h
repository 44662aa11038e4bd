// Philox 4x32-10 with 64-bit products, and what dropout makes of it.
#pragma once
#include <array>
#include <cstdint>

namespace retrace::reference {

using PhiloxWords = std::array<std::uint32_t, 4>;

inline PhiloxWords philox(PhiloxWords c, std::uint64_t key) {
  std::uint32_t k0 = std::uint32_t(key), k1 = std::uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = 0xD2511F53ULL * c[0], b = 0xCD9E8D57ULL * c[2];
    c = {std::uint32_t(b >> 32) ^ c[1] ^ k0, std::uint32_t(b), std::uint32_t(a >> 32) ^ c[3] ^ k1,
         std::uint32_t(a)};
    k0 += 0x9E3779B9u;  // the golden ratio
    k1 += 0xBB67AE85u;  // √3 − 1
  }
  return c;
}

// True if dropout keeps element i: its word, read as a fraction of 2^32, is at least p.
inline bool kept(std::uint64_t i, double p, std::uint64_t seed, std::uint64_t offset) {
  const std::uint64_t four = i / 4;
  const PhiloxWords words = philox(
      {std::uint32_t(four), std::uint32_t(four >> 32), std::uint32_t(offset), std::uint32_t(offset >> 32)},
      seed);
  return words[i % 4] >= std::uint32_t(p * 4294967296.0);
}

}  // namespace retrace::reference
