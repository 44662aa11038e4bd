// cp.async: copies of 16 bytes from device to shared memory that pass the registers by, compute
// capability 8.0. One function per PTX instruction ("PTX ISA", asynchronous copy).
//
//   cp_async_16(shared, global);          start; both addresses multiples of 16
//   cp_async_16(shared, global, bytes);   the same, but only the first `bytes` (0…16) are read and the rest
//                                         becomes 0: for the edge of a tensor; with 0 `global` is not touched
//   cp_async_commit();                    everything this thread has started since the last commit is a group
//   cp_async_wait_group<N>();             wait until at most the N youngest groups are on their way
//
// What has landed is seen by the thread that waited; a barrier makes it seen by the others. In the simulator
// the destination reads as 0xff until that wait, so that a kernel that waits for too few groups computes NaN;
// in builds with RETRACE_RACECHECK such a read is an error.
#pragma once
#include "kernels/simt/simt.h"

namespace retrace::simt {

#if defined(__CUDACC__)

__device__ __forceinline__ void cp_async_16(void* shared, const void* global, int bytes = 16) {
  const unsigned to = unsigned(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N>
__device__ __forceinline__ void cp_async_wait_group() {
  static_assert(N >= 0);
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#else

inline void cp_async_16(void* shared, const void* global, int bytes = 16,
                        std::source_location at = std::source_location::current()) {
  copy_async_16(shared, global, bytes, at);
}
inline void cp_async_commit() {
  copy_async_commit();
}
template <int N>
void cp_async_wait_group() {
  static_assert(N >= 0);
  copy_async_wait(N);
}

#endif

}  // namespace retrace::simt
