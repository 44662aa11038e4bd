// CUDA's device functions for the simulator. The fast ones (__expf …) are as exact as the host's.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <type_traits>

#include "kernels/simt/sim_runtime.h"

// By value and always inline: a watched build would see std::max read its arguments through references, from
// a line in the standard library.
#define RETRACE_DEVICE_INLINE inline __attribute__((always_inline))

namespace retrace::simt {

inline constexpr int warpSize = 32;

// Of two numbers, as CUDA's overloads: the common type; a NaN loses against a number.
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr RETRACE_DEVICE_INLINE auto max(A a_, B b_) {
  using T = std::common_type_t<A, B>;
  const T a = T(a_), b = T(b_);
  return a < b || a != a ? b : a;
}
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr RETRACE_DEVICE_INLINE auto min(A a_, B b_) {
  using T = std::common_type_t<A, B>;
  const T a = T(a_), b = T(b_);
  return b < a || a != a ? b : a;
}
constexpr RETRACE_DEVICE_INLINE float fmaxf(float a, float b) {
  return max(a, b);
}
constexpr RETRACE_DEVICE_INLINE float fminf(float a, float b) {
  return min(a, b);
}

RETRACE_DEVICE_INLINE float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
RETRACE_DEVICE_INLINE double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
RETRACE_DEVICE_INLINE float __expf(float x) {
  return std::exp(x);
}
RETRACE_DEVICE_INLINE float __exp10f(float x) {
  return std::pow(10.0f, x);
}
RETRACE_DEVICE_INLINE float __logf(float x) {
  return std::log(x);
}
RETRACE_DEVICE_INLINE float __log2f(float x) {
  return std::log2(x);
}
RETRACE_DEVICE_INLINE float __powf(float x, float y) {
  return std::pow(x, y);
}
RETRACE_DEVICE_INLINE float __sinf(float x) {
  return std::sin(x);
}
RETRACE_DEVICE_INLINE float __cosf(float x) {
  return std::cos(x);
}
RETRACE_DEVICE_INLINE float __fdividef(float x, float y) {
  return x / y;
}
RETRACE_DEVICE_INLINE float __saturatef(float x) {
  return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f;
}  // NaN → 0

// Rounded once, whatever the compiler would like to fuse.
RETRACE_DEVICE_INLINE float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
RETRACE_DEVICE_INLINE float __fadd_rn(float a, float b) {
  float sum = a + b;
  asm("" : "+m"(sum));
  return sum;
}
RETRACE_DEVICE_INLINE float __fsub_rn(float a, float b) {
  return __fadd_rn(a, -b);
}
RETRACE_DEVICE_INLINE float __fmul_rn(float a, float b) {
  float product = a * b;
  asm("" : "+m"(product));
  return product;
}
RETRACE_DEVICE_INLINE float __fdiv_rn(float a, float b) {
  return a / b;
}
RETRACE_DEVICE_INLINE float __frcp_rn(float a) {
  return 1.0f / a;
}
RETRACE_DEVICE_INLINE float __fsqrt_rn(float a) {
  return std::sqrt(a);
}

// To integers, saturating; NaN becomes 0.
inline int float_to_int(float x) {
  if (x != x) return 0;
  return x >= 2147483648.0f ? 0x7fffffff : x < -2147483648.0f ? int(0x80000000u) : int(x);
}
RETRACE_DEVICE_INLINE int __float2int_rn(float x) {
  return float_to_int(std::nearbyint(x));
}
RETRACE_DEVICE_INLINE int __float2int_rz(float x) {
  return float_to_int(x);
}
RETRACE_DEVICE_INLINE int __float2int_rd(float x) {
  return float_to_int(std::floor(x));
}
RETRACE_DEVICE_INLINE int __float2int_ru(float x) {
  return float_to_int(std::ceil(x));
}
RETRACE_DEVICE_INLINE float __int2float_rn(int x) {
  return float(x);
}
RETRACE_DEVICE_INLINE float __uint2float_rn(unsigned x) {
  return float(x);
}
RETRACE_DEVICE_INLINE float __double2float_rn(double x) {
  return float(x);
}

RETRACE_DEVICE_INLINE unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
RETRACE_DEVICE_INLINE int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
RETRACE_DEVICE_INLINE float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
RETRACE_DEVICE_INLINE float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
RETRACE_DEVICE_INLINE long long __double_as_longlong(double x) {
  return std::bit_cast<long long>(x);
}
RETRACE_DEVICE_INLINE double __longlong_as_double(long long x) {
  return std::bit_cast<double>(x);
}

RETRACE_DEVICE_INLINE int __popc(unsigned x) {
  return std::popcount(x);
}
RETRACE_DEVICE_INLINE int __popcll(unsigned long long x) {
  return std::popcount(x);
}
RETRACE_DEVICE_INLINE int __clz(int x) {
  return std::countl_zero(unsigned(x));
}
RETRACE_DEVICE_INLINE int __clzll(long long x) {
  return std::countl_zero(static_cast<unsigned long long>(x));
}
RETRACE_DEVICE_INLINE int __ffs(int x) {
  return x ? std::countr_zero(unsigned(x)) + 1 : 0;
}
RETRACE_DEVICE_INLINE int __ffsll(long long x) {
  return x ? std::countr_zero(static_cast<unsigned long long>(x)) + 1 : 0;
}
RETRACE_DEVICE_INLINE unsigned __brev(unsigned x) {
  x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
  x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
  x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
  x = (x >> 8 & 0x00ff00ffu) | (x & 0x00ff00ffu) << 8;
  return x >> 16 | x << 16;
}
RETRACE_DEVICE_INLINE unsigned __umulhi(unsigned a, unsigned b) {
  return unsigned(std::uint64_t(a) * b >> 32);
}
RETRACE_DEVICE_INLINE int __mulhi(int a, int b) {
  return int(std::int64_t(a) * b >> 32);
}
RETRACE_DEVICE_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>(Wide(a) * b >> 64);
}
// Byte i of the result is byte (selector >> 4i & 7) of b:a; the sign-replicating mode is left out.
RETRACE_DEVICE_INLINE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t(b) << 32 | a;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i) out |= unsigned(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  return out;
}

// Cache hints mean nothing here.
template <class T>
RETRACE_DEVICE_INLINE T __ldg(const T* p) {
  return *p;
}
template <class T>
RETRACE_DEVICE_INLINE T __ldcg(const T* p) {
  return *p;
}
template <class T>
RETRACE_DEVICE_INLINE T __ldcs(const T* p) {
  return *p;
}
template <class T>
RETRACE_DEVICE_INLINE void __stcg(T* p, T value) {
  *p = value;
}
template <class T>
RETRACE_DEVICE_INLINE void __stcs(T* p, T value) {
  *p = value;
}

// Stores are seen in program order here; what only a fence would fix does not show.
RETRACE_DEVICE_INLINE void __threadfence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
RETRACE_DEVICE_INLINE void __threadfence_block() {}
RETRACE_DEVICE_INLINE void __trap() {
  std::abort();
}

// Atomics return the old value. Defined in sim/atomics.cpp for int, unsigned, unsigned long long, float and
// double, as far as CUDA has them.
template <class T>
T atomic_add(T* p, T value, const std::source_location& at);
template <class T>
T atomic_min(T* p, T value, const std::source_location& at);
template <class T>
T atomic_max(T* p, T value, const std::source_location& at);
template <class T>
T atomic_and(T* p, T value, const std::source_location& at);
template <class T>
T atomic_or(T* p, T value, const std::source_location& at);
template <class T>
T atomic_xor(T* p, T value, const std::source_location& at);
template <class T>
T atomic_exchange(T* p, T value, const std::source_location& at);
template <class T>
T atomic_compare_exchange(T* p, T expected, T value, const std::source_location& at);

#define RETRACE_ATOMIC(CUDA_NAME, NAME)                                    \
  template <class T>                                                       \
  T CUDA_NAME(T* p, std::type_identity_t<T> value,                         \
              std::source_location at = std::source_location::current()) { \
    return NAME(p, value, at);                                             \
  }
RETRACE_ATOMIC(atomicAdd, atomic_add)
RETRACE_ATOMIC(atomicMin, atomic_min)
RETRACE_ATOMIC(atomicMax, atomic_max)
RETRACE_ATOMIC(atomicAnd, atomic_and)
RETRACE_ATOMIC(atomicOr, atomic_or)
RETRACE_ATOMIC(atomicXor, atomic_xor)
RETRACE_ATOMIC(atomicExch, atomic_exchange)
#undef RETRACE_ATOMIC
template <class T>
T atomicSub(T* p, std::type_identity_t<T> value, std::source_location at = std::source_location::current()) {
  static_assert(std::is_integral_v<T>, "CUDA subtracts integers only");
  return atomic_add(p, T(T(0) - value), at);
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value,
            std::source_location at = std::source_location::current()) {
  return atomic_compare_exchange(p, expected, value, at);
}

}  // namespace retrace::simt
