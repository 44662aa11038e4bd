// Shared memory, cp.async, device memory, atomics.
#include <cmath>
#include <limits>

#include "kernels/simt/cp_async.h"
#include "kernels/simt/device_memory.h"
#include "tests/simt/helpers.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

using namespace retrace::test;

// A template's shared arrays are its instantiation's own, as in CUDA.
template <class T>
__device__ T first_of_block(T value) {
  SHARED(T, slot, 1);
  if (threadIdx.x == 0) slot[0] = value;
  __syncthreads();
  const T result = slot[0];
  __syncthreads();
  return result;
}

__global__ void two_instances(double* out, float* dynamic_out) {
  SHARED_DYNAMIC(float, dynamic);
  dynamic[threadIdx.x] = float(threadIdx.x) + 0.5f;
  const double a = first_of_block<double>(1.0 / 3 + blockIdx.x);
  const int b = first_of_block<int>(int(blockIdx.x) + 7);
  out[blockIdx.x * 32 + threadIdx.x] = a + b;
  dynamic_out[blockIdx.x * 32 + threadIdx.x] = dynamic[(threadIdx.x + 1) % 32];
}

TEST_CASE("arrays of template instances and the dynamic array are apart") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::vector<double> out(3 * 32);
    std::vector<float> dynamic(3 * 32);
    launch<two_instances>(3, 32, 128, Stream{})(out.data(), dynamic.data());
    for (int i = 0; i < 96; ++i) {
      REQUIRE(out[std::size_t(i)] == 1.0 / 3 + i / 32 + (i / 32 + 7));
      REQUIRE(dynamic[std::size_t(i)] == float((i % 32 + 1) % 32) + 0.5f);
    }
  }
}

__global__ void too_much_static() {
  SHARED(float, a, 8 * 1024);
  SHARED(float, b, 4 * 1024 + 1);
  a[0] = b[0] = 0;
}

TEST_CASE("more than 48 KiB of static arrays, which nvcc would not compile") {
  const std::string message = message_of([] { launch<too_much_static>(1, 1, 0, Stream{})(); });
  CHECK(has(message, "too_much_static"));
  CHECK(has(message, "16388 bytes for shared array b"));
}

#if !defined(RETRACE_RACECHECK)  // there this is an error: test_racecheck.cu
__global__ void reads_unwritten(float* out, int leave_out) {
  SHARED(float, tile, 64);
  if (int(threadIdx.x) != leave_out) tile[threadIdx.x] = 1;
  __syncthreads();
  out[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}

TEST_CASE("shared memory that no thread of the block wrote reads as NaN, also after another block used it") {
  std::vector<float> out(5 * 64);
  const WithOptions with({.threads = 1});
  launch<reads_unwritten>(5, 64, 0, Stream{})(out.data(), 99);
  for (float x : out) REQUIRE(x == 1);
  launch<reads_unwritten>(5, 64, 0, Stream{})(out.data(), 3);
  for (int i = 0; i < 5 * 64; ++i) REQUIRE(std::isnan(out[std::size_t(i)]) == (i % 64 == 60));
}
#endif

// Copies `stages` tiles with `in_flight` groups left at each wait, and adds the oldest.
template <int InFlight>
__global__ void pipeline(const float* in, float* out, int stages, int bytes) {
  SHARED(float, ring, 4 * 128);
  const int t = int(threadIdx.x);
  for (int s = 0; s < stages && s < 2; ++s) {
    cp_async_16(&ring[s * 128 + t * 4], &in[s * 128 + t * 4], bytes);
    cp_async_commit();
  }
  float sum = 0;
  for (int s = 0; s < stages; ++s) {
    cp_async_wait_group<InFlight>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum += ring[s % 4 * 128 + (127 - t * 4 - i)];
    if (s + 2 < stages) cp_async_16(&ring[(s + 2) % 4 * 128 + t * 4], &in[(s + 2) * 128 + t * 4], bytes);
    cp_async_commit();  // also an empty group: the count stays in step
  }
  out[t] = sum;
}

template <int InFlight>
std::vector<float> run_pipeline(int stages, int bytes) {
  std::vector<float> out(32);
  const std::size_t size = std::size_t(stages) * 128;
  auto* const in = static_cast<float*>(simt::device_allocate(size * sizeof(float)));
  for (std::size_t i = 0; i < size; ++i) in[i] = float(i);
  try {
    launch<pipeline<InFlight>>(1, 32, 0, Stream{})(in, out.data(), stages, bytes);
  } catch (...) {
    simt::device_free(in);
    throw;
  }
  simt::device_free(in);
  return out;
}

TEST_CASE("cp.async lands at the wait; a short one is filled up with zeros") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    for (int bytes : {16, 12, 4, 0}) {
      CAPTURE(bytes);
      const auto out = run_pipeline<1>(7, bytes);
      for (int t = 0; t < 32; ++t) {
        float expected = 0;
        for (int s = 0; s < 7; ++s) {
          for (int i = 0; i < 4; ++i) {
            const int position = 127 - t * 4 - i;
            if (position % 4 * 4 < bytes) expected += float(s * 128 + position);
          }
        }
        REQUIRE(out[std::size_t(t)] == expected);
      }
    }
  }
}

TEST_CASE("cp.async that is not waited for long enough") {
#if defined(RETRACE_RACECHECK)
  const std::string message = message_of([] { run_pipeline<2>(7, 16); });
  CAPTURE(message);
  CHECK(has(message, "shared array ring"));
  CHECK(has(message, "where the cp.async at "));
  CHECK(has(message, "has not been waited for"));
#else
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    // Who comes late finds what an early thread's next wait has landed: not every sum is spoilt.
    const auto out = run_pipeline<2>(7, 16);
    CHECK(std::count_if(out.begin(), out.end(), [](float x) { return std::isnan(x); }) > 0);
  }
#endif
}

// Two copies, of which the second is not committed.
__global__ void commits_one(const float* in, float* out, int first) {
  SHARED(float, tile, 8);
  tile[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x == 0) {
    cp_async_16(tile, in);
    cp_async_commit();
    cp_async_16(tile + 4, in + 4);
    cp_async_wait_group<0>();
  }
  __syncthreads();
  if (int(threadIdx.x) < 4) out[threadIdx.x] = tile[first + int(threadIdx.x)];
}

TEST_CASE("a wait covers committed groups only") {
  alignas(16) float in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  float out[4] = {};
  const auto run = [&](int first) { launch<commits_one>(1, 8, 0, Stream{})(in, out, first); };
  run(0);
  for (int i = 0; i < 4; ++i) CHECK(out[i] == in[i]);
#if defined(RETRACE_RACECHECK)
  CHECK(has(message_of([&] { run(4); }), "has not been waited for"));
#else
  run(4);
  for (float x : out) CHECK(std::isnan(x));
#endif
}

__global__ void copies_askew(const char* in) {
  SHARED(float, tile, 8);
  cp_async_16(tile, in + 4);
}

TEST_CASE("cp.async of an address that is not a multiple of 16") {
  alignas(16) char in[32] = {};
  CHECK(has(message_of([&] { launch<copies_askew>(1, 1, 0, Stream{})(in); }), "not a multiple of 16"));
}

__global__ void atomics(int* ints, float* floats, double* doubles, unsigned long long* wide) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&ints[0], i);
  atomicMax(&ints[1], i);
  atomicMin(&ints[2], -i);
  atomicSub(&ints[3], 2);
  atomicExch(&ints[4], 5);
  if (atomicCAS(&ints[5], 0, i + 1) == 0) atomicAdd(&ints[6], 1);
  atomicOr(reinterpret_cast<unsigned*>(&ints[7]), 1u << (i % 32));
  atomicAnd(reinterpret_cast<unsigned*>(&ints[8]), ~(1u << (i % 31)));
  atomicXor(reinterpret_cast<unsigned*>(&ints[9]), unsigned(i));
  atomicAdd(floats, 0.5f);
  atomicAdd(doubles, 0.25);
  atomicAdd(wide, 1ull << 33);
}

TEST_CASE("atomics from blocks on several OS threads") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    int ints[10] = {0, -1, 1, 0, 0, 0, 0, 0, -1, 0};
    float floats = 0;
    double doubles = 0;
    unsigned long long wide = 0;
    const int n = 64 * 128;
    launch<atomics>(64, 128, 0, Stream{})(ints, &floats, &doubles, &wide);
    int exclusive = 0;
    for (int i = 0; i < n; ++i) exclusive ^= i;
    CHECK(ints[0] == n / 2 * (n - 1));
    CHECK(ints[1] == n - 1);
    CHECK(ints[2] == 1 - n);
    CHECK(ints[3] == -2 * n);
    CHECK(ints[4] == 5);
    CHECK(ints[5] > 0);
    CHECK(ints[6] == 1);
    CHECK(ints[7] == -1);
    CHECK(unsigned(ints[8]) == 0x80000000u);
    CHECK(ints[9] == exclusive);
    CHECK(floats == n * 0.5f);  // exact: multiples of a half below 2^24
    CHECK(doubles == n * 0.25);
    CHECK(wide == (1ull << 33) * n);
  }
}

TEST_CASE("device memory: aligned, and none where there is none") {
  void* const p = simt::device_allocate(1000);
  REQUIRE(p);
  CHECK(reinterpret_cast<std::uintptr_t>(p) % 256 == 0);
  simt::device_free(p);
  simt::device_free(nullptr);
  CHECK(simt::device_allocate(std::size_t(1) << 50) == nullptr);
}

TEST_CASE("device functions at their edges") {
  using namespace retrace::simt;
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  CHECK(simt::max(2, 3u) == 3u);
  CHECK(simt::max(1.5f, nan) == 1.5f);
  CHECK(simt::max(nan, 1.5f) == 1.5f);
  CHECK(simt::min(nan, -1.0f) == -1.0f);
  CHECK(simt::min(-1.0f, nan) == -1.0f);
  static_assert(simt::max(3, 4) == 4 && simt::min(2.0, 1.0f) == 1.0);
  CHECK(__clz(0) == 32);
  CHECK(__clz(1) == 31);
  CHECK(__clz(-1) == 0);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__popc(0xf0f0u) == 8);
  CHECK(__brev(1u) == 0x80000000u);
  CHECK(__brev(0x12345678u) == 0x1e6a2c48u);
  CHECK(__byte_perm(0x33221100u, 0x77665544u, 0x7250u) == 0x77225500u);
  CHECK(__umulhi(0xffffffffu, 0xffffffffu) == 0xfffffffeu);
  CHECK(__mulhi(-2, 3) == -1);
  CHECK(__float2int_rn(2.5f) == 2);
  CHECK(__float2int_rn(3.5f) == 4);
  CHECK(__float2int_rd(-1.5f) == -2);
  CHECK(__float2int_ru(-1.5f) == -1);
  CHECK(__float2int_rz(-1.5f) == -1);
  CHECK(__float2int_rn(nan) == 0);
  CHECK(__float2int_rn(infinity) == 0x7fffffff);
  CHECK(__float2int_rn(-infinity) == -0x7fffffff - 1);
  CHECK(__saturatef(nan) == 0);
  CHECK(__saturatef(2) == 1);
  CHECK(rsqrtf(16.0f) == 0.25f);
  CHECK(__float_as_uint(1.0f) == 0x3f800000u);
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET
