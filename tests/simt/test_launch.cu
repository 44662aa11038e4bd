// Grids, blocks, orders, launches from several threads, and what happens after a fault.
#include <atomic>
#include <numeric>
#include <thread>

#include "tests/simt/helpers.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

using namespace retrace::test;

__global__ void write_indices(int* out) {
  const int block = int(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
  const int thread = int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int threads = int(blockDim.x * blockDim.y * blockDim.z);
  out[block * threads + thread] += 1 + block * threads + thread;
}

TEST_CASE("every thread of every block runs once and knows where it is") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    const dim3 grid(3, 4, 2), block(5, 3, 2);
    std::vector<int> out(3 * 4 * 2 * 5 * 3 * 2, 0), expected(out.size());
    std::iota(expected.begin(), expected.end(), 1);
    launch<write_indices>(grid, block, 0, Stream{})(out.data());
    CHECK(out == expected);
  }
}

__global__ void note_order(int* order, std::atomic<int>* next) {
  order[(*next)++] = int(blockIdx.x * 4 + threadIdx.x);
}

TEST_CASE("blocks and threads follow the order asked for") {
  const auto run = [](simt::ThreadOrder order, std::uint64_t seed) {
    const WithOptions with({.threads = 1, .order = order, .seed = seed});
    std::vector<int> out(40, -1);
    std::atomic<int> next = 0;
    launch<note_order>(10, 4, 0, Stream{})(out.data(), &next);
    return out;
  };
  std::vector<int> forward(40);
  std::iota(forward.begin(), forward.end(), 0);
  CHECK(run(simt::ThreadOrder::forward, 0) == forward);
  CHECK(run(simt::ThreadOrder::reverse, 0) == std::vector<int>(forward.rbegin(), forward.rend()));
  const auto random = run(simt::ThreadOrder::random, 5);
  CHECK(random != forward);
  CHECK(random == run(simt::ThreadOrder::random, 5));  // the seed decides
  CHECK(random != run(simt::ThreadOrder::random, 6));
  auto sorted = random;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == forward);
}

__global__ void nothing(int* touched) {
  *touched = 1;
}

TEST_CASE("a grid without blocks runs nothing; a shape that no GPU takes is an error that names it") {
  int touched = 0;
  launch<nothing>(dim3(0, 3, 1), 32, 0, Stream{})(&touched);
  CHECK(touched == 0);
  const auto message = [&](dim3 grid, dim3 block, std::size_t bytes) {
    return message_of([&] { launch<nothing>(grid, block, bytes, Stream{})(&touched); });
  };
  CHECK(has(message(1, dim3(1025), 0), "nothing"));
  CHECK(has(message(1, dim3(1025), 0), "(1025,1,1) threads"));
  CHECK(message(1, dim3(64, 17), 0) != "");
  CHECK(message(1, dim3(1, 1, 65), 0) != "");
  CHECK(message(1, dim3(0), 0) != "");
  CHECK(message(dim3(1, 65536), 1, 0) != "");
  CHECK(has(message(1, 1, 232449), "232449 bytes"));
  CHECK(message(1, 1, 232448) == "");  // 227 KiB
  CHECK(touched == 1);
}

__global__ void sum_by_tree(const int* in, int* out) {
  SHARED(int, scratch, 128);
  scratch[threadIdx.x] = in[blockIdx.x * 128 + threadIdx.x];
  for (int half = 64; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) scratch[threadIdx.x] += scratch[threadIdx.x + half];
  }
  if (threadIdx.x == 0) out[blockIdx.x] = scratch[0];
}

bool sums_are_right(int blocks) {
  std::vector<int> in(std::size_t(blocks) * 128), out(std::size_t(blocks), -1);
  std::iota(in.begin(), in.end(), 7);
  launch<sum_by_tree>(blocks, 128, 0, Stream{})(in.data(), out.data());
  for (int b = 0; b < blocks; ++b) {
    if (out[std::size_t(b)] != std::accumulate(in.begin() + b * 128, in.begin() + (b + 1) * 128, 0))
      return false;
  }
  return true;
}

TEST_CASE("a reduction over shared memory is right in every order and with any number of OS threads") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    CHECK(sums_are_right(1));
    CHECK(sums_are_right(37));
  }
}

TEST_CASE("several host threads may launch at the same time") {
  std::atomic<int> right = 0;
  std::vector<std::thread> hosts;
  for (int i = 0; i < 4; ++i) {
    hosts.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        // An exception would end the process: here it counts as a wrong answer.
        if (message_of([&] { right += sums_are_right(11); }) != "") --right;
      }
    });
  }
  for (auto& host : hosts) host.join();
  CHECK(right == 80);
}

__global__ void throws_late(int bad_block) {
  __syncthreads();
  if (int(blockIdx.x) == bad_block && threadIdx.x == 3) throw std::runtime_error("from inside");
  __syncthreads();
}

TEST_CASE("an exception leaves the launch as it is, and the next launch runs as ever") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    for (int round = 0; round < 5; ++round) {
      CHECK_THROWS_WITH_AS((launch<throws_late>(9, 64, 0, Stream{})(4)), "from inside", std::runtime_error);
      CHECK(sums_are_right(5));
    }
  }
}

__global__ void launches(int* touched) {
  launch<nothing>(1, 1, 0, Stream{})(touched);
}

TEST_CASE("a kernel cannot launch another") {
  int touched = 0;
  const std::string message = message_of([&] { launch<launches>(2, 1, 0, Stream{})(&touched); });
  CHECK(has(message, "launches"));
  CHECK(has(message, "from inside a kernel"));
  CHECK(touched == 0);
  CHECK(sums_are_right(3));
}

__global__ void deep(int* out, int depth) {
  int values[64];
  for (int i = 0; i < 64; ++i) values[i] = int(threadIdx.x) + i + depth;
  __syncthreads();
  int sum = 0;
  for (int value : values) sum += value;
  out[threadIdx.x] = sum;
}

TEST_CASE("1024 threads keep their own variables over a barrier") {
  std::vector<int> out(1024);
  launch<deep>(1, 1024, 0, Stream{})(out.data(), 5);
  for (int i = 0; i < 1024; ++i) REQUIRE(out[std::size_t(i)] == 64 * (i + 5) + 63 * 32);
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET
