// The simulator's side of simt.h: included by the host compiler only.
#pragma once
#include <atomic>
#include <cstring>
#include <source_location>

#include "kernels/simt/sim_math.h"
#include "kernels/simt/sim_runtime.h"
#include "kernels/simt/sim_vectors.h"
#include "kernels/simt/sim_warp.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)

#define threadIdx (::retrace::simt::current.thread_idx)
#define blockIdx (::retrace::simt::current.block_idx)
#define blockDim (::retrace::simt::current.block_dim)
#define gridDim (::retrace::simt::current.grid_dim)

// The tag tells arrays apart: one per place in the source, and per instantiation of a template.
#define SHARED(T, name, N)                                                                    \
  static constexpr ::retrace::simt::SharedTag name##_shared_array{#name, __FILE__, __LINE__}; \
  T* const name = static_cast<T*>(::retrace::simt::shared_array(&name##_shared_array, sizeof(T) * (N)))
#define SHARED_DYNAMIC(T, name) T* const name = static_cast<T*>(::retrace::simt::shared_dynamic())

namespace retrace::simt {

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
    run_grid(
        kernel_signature<Kernel>(), shape, [](void* body) { (*static_cast<Body*>(body))(); }, &thread);
  }
};

template <auto Kernel>
Launcher<Kernel> launch(dim3 grid, dim3 block, std::size_t shared_bytes, Stream) {
  return {{grid, block, shared_bytes}};
}

}  // namespace retrace::simt
