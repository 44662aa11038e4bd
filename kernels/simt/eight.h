// Eight neighbouring values in one thread's registers. Like RegisterTile, a place where the two targets want different
// code: the GPU's compiler keeps a float[8] in registers by itself, host compilers need to be told that it is a vector.
#pragma once
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

class Eight {
 public:
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = 0;
  }

  // Needs a 16-byte aligned address.
  __device__ __forceinline__ void load(const float* from) {
#if defined(__CUDACC__)
    const float4 low = *reinterpret_cast<const float4*>(from),
                 high = *reinterpret_cast<const float4*>(from + 4);
    v_[0] = low.x, v_[1] = low.y, v_[2] = low.z, v_[3] = low.w;
    v_[4] = high.x, v_[5] = high.y, v_[6] = high.z, v_[7] = high.w;
#else
    using Loose = float __attribute__((vector_size(32), aligned(16)));
    v_ = *reinterpret_cast<const Loose*>(from);
#endif
  }
  // The first `count` from any address, 0 for the others.
  __device__ __forceinline__ void load(const float* from, int count) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = j < count ? from[j] : 0.0f;
  }
  __device__ __forceinline__ void from_array(const float (&from)[8]) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = from[j];
  }
  __device__ __forceinline__ void to_array(float (&to)[8]) const {
#pragma unroll
    for (int j = 0; j < 8; ++j) to[j] = v_[j];
  }

  // this += a · b, rounded once wherever the processor can.
  __device__ __forceinline__ void multiply_add(const Eight& a, const Eight& b) {
#if defined(__CUDACC__)
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = fmaf(a.v_[j], b.v_[j], v_[j]);
#else
    v_ += a.v_ * b.v_;
#endif
  }

  __device__ __forceinline__ float at(int j) const {
    return v_[j];
  }
  __device__ __forceinline__ void set(int j, float value) {
    v_[j] = value;
  }

 private:
#if defined(__CUDACC__)
  float v_[8];
#else
  float __attribute__((vector_size(32))) v_;
#endif
};

}  // namespace retrace::kernels::RETRACE_TARGET
