// CUDA's barriers and warp collectives for the simulator.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "kernels/simt/sim_runtime.h"

namespace retrace::simt {

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  block_barrier(false, at);
}
inline int __syncthreads_count(int predicate, std::source_location at = std::source_location::current()) {
  return block_barrier(predicate != 0, at);
}
inline int __syncthreads_or(int predicate, std::source_location at = std::source_location::current()) {
  return block_barrier(predicate != 0, at) > 0;
}
inline int __syncthreads_and(int predicate, std::source_location at = std::source_location::current()) {
  return block_barrier(predicate == 0, at) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       std::source_location at = std::source_location::current()) {
  warp_collective(nullptr, mask, nullptr, at);
}

// What one lane brings to a shuffle, and what it takes home.
struct ShuffleOperand {
  std::uint64_t bits;
  int source;  // lane of the warp
};
void shuffle_together(void* const* operands, unsigned mask);

// Moves any trivially copyable value of at most 8 bytes. A source outside the lane's own segment of `width`
// lanes (a power of two) yields the lane's own value, as on the GPU; one that the mask leaves out is a fault.
template <class T>
T shuffle(unsigned mask, T value, int source, const std::source_location& at) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  ShuffleOperand operand{0, source};
  std::memcpy(&operand.bits, &value, sizeof(T));
  warp_collective(shuffle_together, mask, &operand, at);
  if (operand.source < 0) shuffle_fault(source, at);
  std::memcpy(&value, &operand.bits, sizeof(T));
  return value;
}
// The lane of its warp the calling thread is: by its linear index in the block, not by threadIdx.x.
inline int lane_id() {
  const ThreadVariables& v = current;
  return int((v.thread_idx.x + v.block_dim.x * (v.thread_idx.y + v.block_dim.y * v.thread_idx.z)) % 32);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location at = std::source_location::current()) {
  return shuffle(mask, value, (lane_id() & ~(width - 1)) + (source & (width - 1)), at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  std::source_location at = std::source_location::current()) {
  const int self = lane_id(), source = self ^ lane_mask;
  return shuffle(mask, value, (source & ~(width - 1)) > (self & ~(width - 1)) ? self : source, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location at = std::source_location::current()) {
  const int self = lane_id(), source = self + int(delta);
  return shuffle(mask, value, (source & ~(width - 1)) != (self & ~(width - 1)) ? self : source, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location at = std::source_location::current()) {
  const int self = lane_id(), source = self - int(delta);
  return shuffle(mask, value, source < (self & ~(width - 1)) ? self : source, at);
}

// In: the lane's predicate; out: one bit per lane of the mask.
void ballot_together(void* const* operands, unsigned mask);

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              std::source_location at = std::source_location::current()) {
  unsigned bits = predicate != 0;
  warp_collective(ballot_together, mask, &bits, at);
  return bits;
}
inline int __any_sync(unsigned mask, int predicate,
                      std::source_location at = std::source_location::current()) {
  return __ballot_sync(mask, predicate, at) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      std::source_location at = std::source_location::current()) {
  return __ballot_sync(mask, predicate, at) == mask;
}

void add_together(void* const* operands, unsigned mask);
// int or unsigned; sums wrap around. From compute capability 8.0 on.
template <class T>
T __reduce_add_sync(unsigned mask, T value, std::source_location at = std::source_location::current()) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>);
  unsigned sum = unsigned(value);
  warp_collective(add_together, mask, &sum, at);
  return T(sum);
}

}  // namespace retrace::simt
