// What a kernel file may use. The same source is compiled by nvcc for the GPU and by the host compiler for
// the simulator; this header supplies whichever side is needed.
//
// A kernel file looks like this:
//
//   #include "kernels/simt/simt.h"
//   namespace retrace::kernels::RETRACE_TARGET {
//   __global__ void scale(float* x, float a, int n) {
//     const int i = blockIdx.x * blockDim.x + threadIdx.x;
//     if (i < n) x[i] *= a;
//   }
//   void scale_launcher(…, Stream stream) { launch<scale>(blocks, 256, 0, stream)(x, a, n); }
//   }
//
// Beside plain CUDA C++ it gets:
//   RETRACE_TARGET                       namespace of the target being compiled: `cuda` or `sim`
//   launch<kernel>(grid, block, shared_bytes, stream)(args…)   start a kernel; checks the launch, throws
//   Error SHARED(T, name, N)                   a shared array of N elements; `name` is a T* SHARED_DYNAMIC(T,
//   name)              the block's dynamic shared memory (shared_bytes of the launch)
// Every function that is not spelled alike on both sides (PTX instructions) has one wrapper, declared for
// both.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/error.h"
#include "kernels/stream.h"

#if defined(__CUDACC__)
#define RETRACE_TARGET cuda
#include "kernels/simt/cuda_target.h"
#else
#define RETRACE_TARGET sim
#include "kernels/simt/sim_target.h"
#endif

namespace retrace::kernels::RETRACE_TARGET {
using namespace ::retrace::simt;
}
