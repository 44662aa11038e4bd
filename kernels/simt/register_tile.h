// The heart of an fp32 GEMM: 8 × 8 sums in one thread's registers and their rank-1 update. The one place where the
// two targets want different code: the GPU's compiler keeps a float[8][8] in registers by itself, host compilers
// need to be told that a row is a vector.
#pragma once
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

class RegisterTile {
 public:
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) sum_[i][j] = 0;
    }
  }

  // sum[i][j] += u[i] · v[j] for rows u[0…7] and columns low[0…3], high[0…3]; all three 16-byte aligned.
  __device__ __forceinline__ void multiply_add(const float* u, const float* low, const float* high) {
#if defined(__CUDACC__)
    float a[8], b[8];
    *reinterpret_cast<float4*>(a) = *reinterpret_cast<const float4*>(u);
    *reinterpret_cast<float4*>(a + 4) = *reinterpret_cast<const float4*>(u + 4);
    *reinterpret_cast<float4*>(b) = *reinterpret_cast<const float4*>(low);
    *reinterpret_cast<float4*>(b + 4) = *reinterpret_cast<const float4*>(high);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) sum_[i][j] += a[i] * b[j];
    }
#else
    using Four = float __attribute__((vector_size(16)));
    const Four first = *reinterpret_cast<const Four*>(low), second = *reinterpret_cast<const Four*>(high);
    const Row v = __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7);
    for (int i = 0; i < 8; ++i) sum_[i] += u[i] * v;
#endif
  }

  __device__ __forceinline__ float at(int i, int j) const {
    return sum_[i][j];
  }

 private:
#if defined(__CUDACC__)
  float sum_[8][8];
#else
  using Row = float __attribute__((vector_size(32)));
  Row sum_[8];
#endif
};

}  // namespace retrace::kernels::RETRACE_TARGET
