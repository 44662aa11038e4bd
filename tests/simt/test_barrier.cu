// __syncthreads and its relatives; kernels that get it wrong.
#include "tests/simt/helpers.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

using namespace retrace::test;

template <bool Barrier>
__global__ void reverse_block(int* data) {
  SHARED(int, tile, 96);
  tile[threadIdx.x] = data[threadIdx.x];
  if (Barrier) __syncthreads();
  data[threadIdx.x] = tile[95 - threadIdx.x];
}

std::vector<int> reversed(bool barrier) {
  std::vector<int> data(96);
  for (int i = 0; i < 96; ++i) data[std::size_t(i)] = i;
  if (barrier) {
    launch<reverse_block<true>>(1, 96, 0, Stream{})(data.data());
  } else {
    launch<reverse_block<false>>(1, 96, 0, Stream{})(data.data());
  }
  return data;
}

TEST_CASE("with its barrier a kernel gives one answer in every order") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    const auto data = reversed(true);
    for (int i = 0; i < 96; ++i) REQUIRE(data[std::size_t(i)] == 95 - i);
  }
}

#if !defined(RETRACE_RACECHECK)  // there the launch ends with an error: test_racecheck.cu
TEST_CASE("without its barrier it gives another answer in another order, and reads -1 where nobody wrote") {
  std::vector<std::vector<int>> answers;
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    answers.push_back(reversed(false));
    CHECK(std::count(answers.back().begin(), answers.back().end(), -1) > 0);
  }
  CHECK(answers[0] != answers[1]);
  CHECK(answers[0] != answers[2]);
  CHECK(answers[1] != answers[2]);
}
#endif

__global__ void vote(int* out, int limit) {
  const int mine = int(threadIdx.x) < limit;
  const int count = __syncthreads_count(mine);
  const int any = __syncthreads_or(mine);
  const int all = __syncthreads_and(mine);
  out[threadIdx.x] = count * 100 + any * 10 + all;
}

TEST_CASE("__syncthreads_count, _or and _and tell every thread the same") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    for (const auto& [limit, expected] : {std::pair{0, 0}, {7, 710}, {70, 7011}}) {
      std::vector<int> out(70);
      launch<vote>(1, 70, 0, Stream{})(out.data(), limit);
      CHECK(out == std::vector<int>(70, expected));
    }
  }
}

constexpr int line_if = __LINE__ + 3;
__global__ void two_barriers() {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST_CASE("threads at two different barriers: the message names both, block and kernel") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    const std::string message = message_of([] { launch<two_barriers>(1, 64, 0, Stream{})(); });
    CAPTURE(message);
    CHECK(has(message, "two_barriers, block (0,0,0), thread ("));
    CHECK(has(message, "another barrier than thread ("));
    CHECK(has(message, at_line(__FILE__, line_if)));
    CHECK(has(message, at_line(__FILE__, line_if + 2)));
  }
}

constexpr int line_early = __LINE__ + 3;
__global__ void early_exit(int* out, int n) {
  if (int(threadIdx.x) >= n) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

TEST_CASE("a thread that exits before a barrier others wait at") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::vector<int> out(64, 0);
    const auto run = [&](int n) {
      return message_of([&] { launch<early_exit>(dim3(1, 3), 64, 0, Stream{})(out.data(), n); });
    };
    CHECK(run(64) == "");
    const std::string missed = run(63);
    CAPTURE(missed);
    CHECK(has(missed, "early_exit, block (0,"));
    CHECK(has(missed, at_line(__FILE__, line_early)));
    CHECK(has(missed, "a barrier that thread (63,0,0) will not reach: it has exited"));
    CHECK(has(run(60), "and 3 more will not reach: they have exited"));
  }
}

__global__ void barrier_per_row() {
  if (threadIdx.y == 0) __syncthreads();
  if (threadIdx.x == 0) __syncwarp();
}

TEST_CASE("threads in a collective and at a barrier that wait for each other") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    const std::string message = message_of([] { launch<barrier_per_row>(1, dim3(16, 2), 0, Stream{})(); });
    CAPTURE(message);
    CHECK(has(message, "thread (0,1,0)"));
    CHECK(has(message, "waits in a warp collective"));
    CHECK(has(message, "waits at the barrier at"));
  }
}

TEST_CASE("after all those faults the simulator works as before") {
  for (int i = 0; i < 50; ++i) {
    CHECK(message_of([] { launch<two_barriers>(20, 64, 0, Stream{})(); }) != "");
  }
  CHECK(reversed(true)[0] == 95);
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET
