// bench_simt: how fast the simulator runs the kernel that convolutions are made of. C = A·B in fp32 with
// tiles of 128×128×8 in shared memory, 256 threads, 8×8 results per thread; prints the best of several runs.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int tile = 128, depth = 8, per_thread = 8;

// One block per 128×128 tile of C. m, n multiples of 128, k of 8; A is m×k, B k×n, by rows.
__global__ void __launch_bounds__(256)
    sgemm(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n, int k) {
  SHARED(float, tile_a, depth* tile);  // transposed: [k][m]
  SHARED(float, tile_b, depth* tile);
  const int t = int(threadIdx.x), row0 = int(blockIdx.y) * tile, column0 = int(blockIdx.x) * tile;
  const int ty = t / 16 * per_thread, tx = t % 16 * per_thread;
  float sum[per_thread][per_thread] = {};
  for (int k0 = 0; k0 < k; k0 += depth) {
    const float4 from_a =
        *reinterpret_cast<const float4*>(&a[(long long)(row0 + t / 2) * k + k0 + t % 2 * 4]);
    const float4 from_b =
        *reinterpret_cast<const float4*>(&b[(long long)(k0 + t / 32) * n + column0 + t % 32 * 4]);
    tile_a[(t % 2 * 4 + 0) * tile + t / 2] = from_a.x;
    tile_a[(t % 2 * 4 + 1) * tile + t / 2] = from_a.y;
    tile_a[(t % 2 * 4 + 2) * tile + t / 2] = from_a.z;
    tile_a[(t % 2 * 4 + 3) * tile + t / 2] = from_a.w;
    *reinterpret_cast<float4*>(&tile_b[t / 32 * tile + t % 32 * 4]) = from_b;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < depth; ++i) {
      float x[per_thread], y[per_thread];
      for (int j = 0; j < per_thread; ++j) x[j] = tile_a[i * tile + ty + j];
      for (int j = 0; j < per_thread; ++j) y[j] = tile_b[i * tile + tx + j];
      for (int r = 0; r < per_thread; ++r) {
        for (int s = 0; s < per_thread; ++s) sum[r][s] += x[r] * y[s];
      }
    }
    __syncthreads();
  }
  for (int r = 0; r < per_thread; ++r) {
    for (int s = 0; s < per_thread; ++s) c[(long long)(row0 + ty + r) * n + column0 + tx + s] = sum[r][s];
  }
}

__global__ void barriers(int times) {
  for (int i = 0; i < times; ++i) __syncthreads();
}
__global__ void shuffles(int* out, int times) {
  int v = int(threadIdx.x);
  for (int i = 0; i < times; ++i) v += __shfl_xor_sync(0xffffffffu, v, 1);
  out[threadIdx.x] = v;
}
__global__ void add_one(float* x) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  x[i] += 1;
}

// On a machine that others use too, the time of the processors says more than that of the clock.
struct Seconds {
  double wall = 1e9, processor = 1e9;
};
template <class Run>
Seconds best_of(int runs, Run run) {
  Seconds best;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    run();
    best.processor = std::min(best.processor, double(std::clock() - used) / CLOCKS_PER_SEC);
    best.wall =
        std::min(best.wall, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

int bench(int runs) {
  const int m = 512, n = 512, k = 256;
  std::vector<float> a(std::size_t(m) * k), b(std::size_t(k) * n), c(std::size_t(m) * n);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = float(i * 2654435761u % 17) - 8;
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = float(i * 2246822519u % 13) - 6;
  for (int threads : {1, 0}) {
    simt::set_sim_options({.threads = threads});
    const Seconds seconds = best_of(runs, [&] {
      launch<sgemm>(dim3(n / tile, m / tile), 256, 0, Stream{})(a.data(), b.data(), c.data(), n, k);
    });
    // Small integers: every order of summation gives the same.
    for (int i = 0; i < m; i += 47) {
      for (int j = 0; j < n; j += 43) {
        float expected = 0;
        for (int l = 0; l < k; ++l) expected += a[std::size_t(i) * k + l] * b[std::size_t(l) * n + j];
        if (c[std::size_t(i) * n + j] != expected) {
          std::printf("wrong result at (%d,%d): %g, expected %g\n", i, j, c[std::size_t(i) * n + j],
                      expected);
          return 1;
        }
      }
    }
    const double gmac = double(m) * n * k * 1e-9;
    std::printf("sgemm %dx%dx%d, %s: %.2f GMAC/s, %.2f per second of processor time\n", m, n, k,
                threads == 1 ? "one core" : "all cores", gmac / seconds.wall, gmac / seconds.processor);
  }
  simt::set_sim_options({.threads = 1});
  const int times = 2000;
  const auto per_thread_ns = [&](const char* what, double count, auto run) {
    std::printf("%s: %.1f ns of processor time\n", what, best_of(runs, run).processor / count * 1e9);
  };
  std::vector<int> out(256);
  per_thread_ns("a barrier, per thread of 256", times * 256.0,
                [&] { launch<barriers>(1, 256, 0, Stream{})(times); });
  per_thread_ns("a shuffle, per thread of 256", times * 256.0,
                [&] { launch<shuffles>(1, 256, 0, Stream{})(out.data(), times); });
  per_thread_ns("a thread without barriers", 1024 * 256.0,
                [&] { launch<add_one>(1024, 256, 0, Stream{})(c.data()); });
  per_thread_ns("a launch of one thread", 1000, [&] {
    for (int i = 0; i < 1000; ++i) launch<add_one>(1, 1, 0, Stream{})(c.data());
  });
  return 0;
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET

int main(int argc, char** argv) {
  return retrace::kernels::sim::bench(argc > 1 ? std::max(1, std::atoi(argv[1])) : 50);
}
