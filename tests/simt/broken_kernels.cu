// broken_simt NAME: runs one broken kernel. Built with AddressSanitizer only, which ends the process at the
// first fault: test_asan.cpp starts it and reads what it says.
#include <cstdio>
#include <cstring>

#include "kernels/simt/device_memory.h"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

__global__ void correct(float* out) {
  SHARED(float, row, 32);
  row[threadIdx.x] = 1;
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x] = row[31 - threadIdx.x];
}
__global__ void past_the_end(float* out) {
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x + 1] = 1;
}
__global__ void before_the_start(float* out) {
  __syncthreads();
  out[1] = out[int(threadIdx.x) - 1];
}
__global__ void past_shared(float* out) {
  SHARED(float, row, 32);
  SHARED(float, other, 32);
  row[threadIdx.x] = other[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 5) out[0] = row[threadIdx.x + 27];
}
__global__ void past_dynamic(float* out) {
  SHARED_DYNAMIC(float, row);
  row[threadIdx.x] = 0;
  __syncthreads();
  out[threadIdx.x] = row[threadIdx.x];
}
// Not inlined: UndefinedBehaviorSanitizer would know the array's size and be the first to speak.
__attribute__((noinline)) void fill(float* p, int n) {
  for (int i = 0; i <= n; ++i) p[i] = float(i);
}
__global__ void past_own_array(float* out, int n) {
  float mine[4] = {};
  __syncthreads();
  fill(mine, n);
  out[threadIdx.x] = mine[threadIdx.x % 4];
}
__global__ void shifts_too_far(float* out, int by) {
  out[threadIdx.x] = float(1 << (by + int(threadIdx.x)));
}

int run(const char* name) {
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  auto* const out = static_cast<float*>(simt::device_allocate(64 * sizeof(float)));
  for (int i = 0; i < 64; ++i) out[i] = 0;
  if (is("correct")) launch<correct>(2, 32, 0, Stream{})(out);
  if (is("past_the_end")) launch<past_the_end>(2, 32, 0, Stream{})(out);
  if (is("before_the_start")) launch<before_the_start>(1, 32, 0, Stream{})(out);
  if (is("past_shared")) launch<past_shared>(1, 32, 0, Stream{})(out);
  if (is("past_dynamic")) launch<past_dynamic>(1, 32, 31 * sizeof(float), Stream{})(out);
  if (is("past_own_array")) launch<past_own_array>(1, 32, 0, Stream{})(out, 4);
  if (is("shifts_too_far")) launch<shifts_too_far>(1, 32, 0, Stream{})(out, 8);
  simt::device_free(out);
  if (is("after_free")) launch<correct>(2, 32, 0, Stream{})(out);
  std::puts("ran to the end");
  return 0;
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET

int main(int argc, char** argv) {
  return argc == 2 ? retrace::kernels::sim::run(argv[1]) : 2;
}
