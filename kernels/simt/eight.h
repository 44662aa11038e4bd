// Eight neighbouring values in one thread's registers. Like RegisterTile, a place where the two targets want different
// code: the GPU's compiler keeps a float[8] in registers by itself, host compilers need to be told that it is a vector.
#pragma once
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

#if defined(__CUDACC__)

class Eight {
 public:
  __device__ __forceinline__ void clear() {
    each([](float) { return 0.0f; });
  }
  // Both need a 16-byte aligned address.
  __device__ __forceinline__ void load(const float* from) {
    const float4 low = *reinterpret_cast<const float4*>(from),
                 high = *reinterpret_cast<const float4*>(from + 4);
    v_[0] = low.x, v_[1] = low.y, v_[2] = low.z, v_[3] = low.w;
    v_[4] = high.x, v_[5] = high.y, v_[6] = high.z, v_[7] = high.w;
  }
  __device__ __forceinline__ void store(float* to) const {
    *reinterpret_cast<float4*>(to) = make_float4(v_[0], v_[1], v_[2], v_[3]);
    *reinterpret_cast<float4*>(to + 4) = make_float4(v_[4], v_[5], v_[6], v_[7]);
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
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = fmaf(a.v_[j], b.v_[j], v_[j]);
  }
  __device__ __forceinline__ void add(const Eight& a) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] += a.v_[j];
  }
  __device__ __forceinline__ void multiply(const Eight& a) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] *= a.v_[j];
  }
  __device__ __forceinline__ void scale(float by) {
    each([by](float v) { return by * v; });
  }

  // max(x, 0) and min(x, 0); a NaN stays one.
  __device__ __forceinline__ void positive_part() {
    each([](float v) { return v < 0.0f ? 0.0f : v; });
  }
  __device__ __forceinline__ void negative_part() {
    each([](float v) { return v > 0.0f ? 0.0f : v; });
  }
  // A bit for each value above 0, the first lowest.
  __device__ __forceinline__ unsigned positive_bits() const {
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) bits |= unsigned(v_[j] > 0.0f) << j;
    return bits;
  }
  // 0 where the bit is.
  __device__ __forceinline__ void keep(unsigned bits) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = bits >> j & 1 ? v_[j] : 0.0f;
  }

 private:
  template <class F>
  __device__ __forceinline__ void each(F f) {
#pragma unroll
    for (int j = 0; j < 8; ++j) v_[j] = f(v_[j]);
  }
  float v_[8];
};

#else

class Eight {
 public:
  __forceinline__ void clear() { v_ = Vector{}; }
  __forceinline__ void load(const float* from) { v_ = *reinterpret_cast<const Loose*>(from); }
  __forceinline__ void store(float* to) const { *reinterpret_cast<Loose*>(to) = v_; }
  __forceinline__ void from_array(const float (&from)[8]) { load(from); }
  __forceinline__ void to_array(float (&to)[8]) const { store(to); }
  __forceinline__ void multiply_add(const Eight& a, const Eight& b) { v_ += a.v_ * b.v_; }
  __forceinline__ void add(const Eight& a) { v_ += a.v_; }
  __forceinline__ void multiply(const Eight& a) { v_ *= a.v_; }
  __forceinline__ void scale(float by) { v_ *= by; }
  __forceinline__ void positive_part() { v_ = v_ < Vector{} ? Vector{} : v_; }
  __forceinline__ void negative_part() { v_ = v_ > Vector{} ? Vector{} : v_; }
  __forceinline__ unsigned positive_bits() const {
    Bits set = (v_ > Vector{}) & powers;
    set |= __builtin_shufflevector(set, set, 4, 5, 6, 7, 0, 1, 2, 3);
    set |= __builtin_shufflevector(set, set, 2, 3, 0, 1, 6, 7, 4, 5);
    return unsigned(set[0] | set[1]);
  }
  __forceinline__ void keep(unsigned bits) { v_ = (powers & int(bits)) != 0 ? v_ : Vector{}; }

 private:
  using Vector = float __attribute__((vector_size(32)));
  using Bits = int __attribute__((vector_size(32)));
  using Loose = float __attribute__((vector_size(32), aligned(4)));
  static constexpr Bits powers = {1, 2, 4, 8, 16, 32, 64, 128};
  Vector v_;
};

#endif

}  // namespace retrace::kernels::RETRACE_TARGET
