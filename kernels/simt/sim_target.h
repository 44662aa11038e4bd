// The simulator's side of simt.h: included by the host compiler only.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "kernels/simt/sim_runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

#define threadIdx (::retrace::simt::current.thread_idx)
#define blockIdx (::retrace::simt::current.block_idx)
#define blockDim (::retrace::simt::current.block_dim)
#define gridDim (::retrace::simt::current.grid_dim)

#define SHARED(T, name, N) \
  T* name = static_cast<T*>(::retrace::simt::shared_array(#name, __FILE__, __LINE__, sizeof(T) * (N)))
#define SHARED_DYNAMIC(T, name) T* name = static_cast<T*>(::retrace::simt::shared_dynamic())

namespace retrace::simt {

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  block_barrier(at);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, std::source_location at = std::source_location::current()) {
  warp_exchange(WarpOp::sync, mask, 0, at);
}

// Moves any trivially copyable value of at most 8 bytes through the warp's exchange slots.
template <class T>
std::uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// A source lane outside the lane's own segment of `width` lanes returns the lane's own value, as on the GPU.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location at = std::source_location::current()) {
  const WarpView lanes = warp_exchange(WarpOp::shuffle, mask, to_bits(value), at);
  const int segment = lanes.self & ~(width - 1);
  return from_bits<T>(lanes.value(segment + (source & (width - 1)), at));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  std::source_location at = std::source_location::current()) {
  const WarpView lanes = warp_exchange(WarpOp::shuffle, mask, to_bits(value), at);
  const int source = lanes.self ^ lane_mask;
  return (source & ~(width - 1)) > (lanes.self & ~(width - 1)) ? value : from_bits<T>(lanes.value(source, at));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location at = std::source_location::current()) {
  const WarpView lanes = warp_exchange(WarpOp::shuffle, mask, to_bits(value), at);
  const int source = lanes.self + int(delta);
  return (source & ~(width - 1)) != (lanes.self & ~(width - 1)) ? value
                                                                : from_bits<T>(lanes.value(source, at));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location at = std::source_location::current()) {
  const WarpView lanes = warp_exchange(WarpOp::shuffle, mask, to_bits(value), at);
  const int source = lanes.self - int(delta);
  return source < (lanes.self & ~(width - 1)) ? value : from_bits<T>(lanes.value(source, at));
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location at = std::source_location::current()) {
  const WarpView lanes = warp_exchange(WarpOp::ballot, mask, predicate != 0, at);
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) && lanes.value(lane, at)) bits |= 1u << lane;
  }
  return bits;
}
inline int __any_sync(unsigned mask, int predicate, std::source_location at = std::source_location::current()) {
  return __ballot_sync(mask, predicate, at) != 0;
}
inline int __all_sync(unsigned mask, int predicate, std::source_location at = std::source_location::current()) {
  return __ballot_sync(mask, predicate, at) == mask;
}

// The kernel's name as the compiler prints it, cut out of this function's own signature.
template <auto Kernel>
constexpr const char* kernel_signature() {
  return __PRETTY_FUNCTION__;
}

template <auto Kernel>
struct Launcher;

template <class... Params, void (*Kernel)(Params...)>
struct Launcher<Kernel> {
  LaunchShape shape;

  void operator()(Params... args) const {
    auto thread = [&] { Kernel(args...); };
    using Body = decltype(thread);
    run_grid(kernel_signature<Kernel>(), shape, [](void* body) { (*static_cast<Body*>(body))(); }, &thread);
  }
};

template <auto Kernel>
Launcher<Kernel> launch(dim3 grid, dim3 block, std::size_t shared_bytes, Stream) {
  return {{grid, block, shared_bytes}};
}

}  // namespace retrace::simt
