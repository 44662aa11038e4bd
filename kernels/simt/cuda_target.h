// The GPU's side of simt.h: included by nvcc only.
#pragma once
#include <cuda_runtime.h>

#include <string>
#include <utility>

#define SHARED(T, name, N) __shared__ T name[N]
// One untyped array serves every kernel: extern shared arrays of one name must have one type.
#define SHARED_DYNAMIC(T, name)                                           \
  extern __shared__ __align__(16) unsigned char retrace_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(retrace_dynamic_shared)

namespace retrace::simt {

template <auto Kernel>
struct Launcher {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;

  template <class... Args>
  void operator()(Args&&... args) const {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // nothing to do is not an error
    if (shared_bytes > 48 * 1024) {
      check(cudaFuncSetAttribute(Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)));
    }
    Kernel<<<grid, block, shared_bytes, stream>>>(std::forward<Args>(args)...);
    check(cudaGetLastError());
  }

 private:
  void check(cudaError_t status) const {
    if (status == cudaSuccess) return;
    throw Error(std::string("launching ") + __PRETTY_FUNCTION__ + " on grid " + std::to_string(grid.x) + "x" +
                std::to_string(grid.y) + "x" + std::to_string(grid.z) + ", block " + std::to_string(block.x) +
                "x" + std::to_string(block.y) + "x" + std::to_string(block.z) + ", " +
                std::to_string(shared_bytes) + " bytes shared: " + cudaGetErrorString(status));
  }
};

template <auto Kernel>
Launcher<Kernel> launch(dim3 grid, dim3 block, size_t shared_bytes, Stream stream) {
  return {grid, block, shared_bytes, static_cast<cudaStream_t>(stream.native)};
}

}  // namespace retrace::simt
