// Shuffles, votes and their masks.
#include "tests/simt/helpers.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

using namespace retrace::test;
constexpr unsigned all = 0xffffffffu;

__global__ void shuffles(int* out) {
  const int i = int(threadIdx.x), v = 100 + i;
  int* const mine = out + i * 8;
  mine[0] = __shfl_sync(all, v, 5);
  mine[1] = __shfl_sync(all, v, i + 1, 8);
  mine[2] = __shfl_xor_sync(all, v, 3);
  mine[3] = __shfl_xor_sync(all, v, 12, 8);
  mine[4] = __shfl_down_sync(all, v, 2);
  mine[5] = __shfl_down_sync(all, v, 2, 16);
  mine[6] = __shfl_up_sync(all, v, 3);
  mine[7] = __shfl_up_sync(all, v, 3, 4);
}

TEST_CASE("shuffles of all kinds and widths") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::vector<int> out(64 * 8);
    launch<shuffles>(1, 64, 0, Stream{})(out.data());
    for (int i = 0; i < 64; ++i) {
      CAPTURE(i);
      const int w = i / 32 * 32, l = i % 32;
      const int* const mine = &out[std::size_t(i) * 8];
      REQUIRE(mine[0] == 100 + w + 5);
      REQUIRE(mine[1] == 100 + w + l / 8 * 8 + (l + 1) % 8);
      REQUIRE(mine[2] == 100 + w + (l ^ 3));
      // Width 8, mask 12: a higher segment's lane is out of reach, a lower segment's is not (PTX shfl.bfly).
      REQUIRE(mine[3] == 100 + w + ((l ^ 12) / 8 > l / 8 ? l : l ^ 12));
      REQUIRE(mine[4] == 100 + w + (l + 2 < 32 ? l + 2 : l));
      REQUIRE(mine[5] == 100 + w + (l % 16 + 2 < 16 ? l + 2 : l));
      REQUIRE(mine[6] == 100 + w + (l >= 3 ? l - 3 : l));
      REQUIRE(mine[7] == 100 + w + (l % 4 == 3 ? l - 3 : l));
    }
  }
}

__global__ void reductions(double* sums, unsigned* votes) {
  double v = double(threadIdx.x) + 0.25;
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(all, v, step);
  sums[threadIdx.x] = v;
  votes[threadIdx.x * 4] = __ballot_sync(all, threadIdx.x % 3 == 0);
  votes[threadIdx.x * 4 + 1] = unsigned(__any_sync(all, threadIdx.x == 40));
  votes[threadIdx.x * 4 + 2] = unsigned(__all_sync(all, threadIdx.x < 40));
  votes[threadIdx.x * 4 + 3] = __reduce_add_sync(all, threadIdx.x);
}

TEST_CASE("sums in double, votes and integer reductions") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::vector<double> sums(64);
    std::vector<unsigned> votes(64 * 4);
    launch<reductions>(1, 64, 0, Stream{})(sums.data(), votes.data());
    for (std::size_t i = 0; i < 64; ++i) {
      const unsigned w = unsigned(i / 32);
      unsigned ballot = 0;
      for (unsigned l = 0; l < 32; ++l) ballot |= unsigned((w * 32 + l) % 3 == 0) << l;
      REQUIRE(sums[i] == (w ? 1520.0 : 496.0) + 8);  // quarters add exactly
      REQUIRE(votes[i * 4] == ballot);
      REQUIRE(votes[i * 4 + 1] == w);
      REQUIRE(votes[i * 4 + 2] == 1 - w);
      REQUIRE(votes[i * 4 + 3] == (w ? 1520 : 496));
    }
  }
}

// The lower lanes meet often among themselves while the upper ones have met once: each must still get what
// was brought to its own collective.
__global__ void uneven_history(int* out) {
  const int lane = int(threadIdx.x);
  int v = lane;
  if (lane < 16) {
    for (int i = 0; i < 5; ++i) v = __shfl_xor_sync(0xffffu, v, 1);
  } else if (lane < 24) {
    v = __shfl_xor_sync(0xff0000u, v, 2);
  }
  const int last = __shfl_sync(all, v, 31 - lane);
  // Lane 0 runs ahead on its own while others have yet to read.
  if (lane == 0) {
    for (int i = 0; i < 4; ++i) v = __shfl_sync(1u, v + 1000, 0);
  }
  out[lane] = last;
  out[32 + lane] = __shfl_sync(all, v, 0);
}

TEST_CASE("lanes of one warp with different histories of collectives") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::vector<int> out(64);
    launch<uneven_history>(1, 32, 0, Stream{})(out.data());
    for (int lane = 0; lane < 32; ++lane) {
      const int source = 31 - lane;
      REQUIRE(out[std::size_t(lane)] == (source < 16 ? source ^ 1 : source < 24 ? source ^ 2 : source));
      REQUIRE(out[std::size_t(lane) + 32] == 4001);
    }
  }
}

constexpr int line_missing = __LINE__ + 3;
__global__ void missing_lanes(int* out) {
  if (threadIdx.x % 2 && threadIdx.x < 32) return;
  out[threadIdx.x] = __shfl_xor_sync(all, int(threadIdx.x), 2);
}
__global__ void foreign_lane(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, int(threadIdx.x), 20);
}
__global__ void own_lane_left_out() {
  __syncwarp(0x7fffffffu);
}
__global__ void half_a_warp() {
  __syncwarp();
}
__global__ void different_masks() {
  __syncwarp(threadIdx.x < 16 ? all : 0xffffu | 1u << threadIdx.x);
}
__global__ void different_collectives(int* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_sync(all, 1, 0);
  } else {
    out[threadIdx.x] = int(__ballot_sync(all, 1));
  }
}

// Lane 1 meets lane 2 before it meets lane 0, who may well come first.
__global__ void meetings(int* out) {
  const int t = int(threadIdx.x);
  int v = t;
  if (t == 1 || t == 2) v += __shfl_xor_sync(6u, v, 3);
  if (t == 0 || t == 1) v += __shfl_xor_sync(3u, v, 1);
  out[t] = v;
}

TEST_CASE("masks that overlap, each meeting in its turn") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::vector<int> out(32);
    launch<meetings>(1, 32, 0, Stream{})(out.data());
    CHECK(out[0] == 3);
    CHECK(out[1] == 3);
    CHECK(out[2] == 3);
  }
}

TEST_CASE("collectives that do not come together are reported with kernel, thread, lane and line") {
  std::vector<int> out(64);
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::string message = message_of([&] { launch<missing_lanes>(2, 64, 0, Stream{})(out.data()); });
    CAPTURE(message);
    CHECK(has(message, "missing_lanes, block ("));
    CHECK(has(message, at_line(__FILE__, line_missing)));
    CHECK(has(message, "lane 1 (thread (1,0,0)) has exited; lane 3 (thread (3,0,0)) has exited"));

    message = message_of([&] { launch<foreign_lane>(1, 32, 0, Stream{})(out.data()); });
    CAPTURE(message);
    CHECK(has(message, "foreign_lane"));
    CHECK(has(message, "shuffles from lane 20, which the mask leaves out"));

    message = message_of([&] { launch<own_lane_left_out>(1, 32, 0, Stream{})(); });
    CAPTURE(message);
    CHECK(has(message, "thread (31,0,0)"));
    CHECK(has(message, "leaves its own lane out"));

    message = message_of([&] { launch<half_a_warp>(1, 48, 0, Stream{})(); });
    CAPTURE(message);
    CHECK(has(message, "lane 16 does not exist"));

    message = message_of([&] { launch<different_masks>(1, 32, 0, Stream{})(); });
    CAPTURE(message);
    CHECK(has(message, "waits in a warp collective of mask 0x"));
    CHECK(has(message, "waits in the warp collective of mask 0x"));

    message = message_of([&] { launch<different_collectives>(1, 32, 0, Stream{})(out.data()); });
    CAPTURE(message);
    CHECK(has(message, "another warp collective than lane"));
  }
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET
