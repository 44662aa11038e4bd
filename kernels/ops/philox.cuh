// Philox 4x32-10: four random 32-bit words from a 128-bit counter and a 64-bit key (Salmon et al. 2011, "Parallel
// random numbers: as easy as 1, 2, 3").
#pragma once
#include <cstdint>

#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

struct PhiloxWords {
  std::uint32_t w[4];
};

__device__ __forceinline__ PhiloxWords philox(PhiloxWords counter, std::uint32_t key0, std::uint32_t key1) {
  std::uint32_t(&c)[4] = counter.w;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
    const std::uint32_t high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
    c[0] = high1 ^ c[1] ^ key0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ key1;
    c[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

}  // namespace retrace::kernels::RETRACE_TARGET
