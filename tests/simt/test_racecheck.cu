// Builds with RETRACE_RACECHECK=ON only: every load and store of a kernel is watched. Each broken kernel must
// be caught and named with block, thread and line; the right ones beside them must pass.
#if defined(RETRACE_RACECHECK)

#include "kernels/simt/device_memory.h"
#include "tests/simt/helpers.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

using namespace retrace::test;

struct DeviceArray {
  explicit DeviceArray(std::size_t n) : data(static_cast<float*>(simt::device_allocate(n * sizeof(float)))) {
    for (std::size_t i = 0; i < n; ++i) data[i] = float(i);
  }
  ~DeviceArray() { simt::device_free(data); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  float* data;
};

constexpr int line_reverse = __LINE__ + 5;
template <bool Barrier>
__global__ void reverse_block(float* data) {
  SHARED(float, tile, 64);
  const int t = int(threadIdx.x);
  tile[t] = data[t];
  if (Barrier) __syncthreads();
  data[t] = tile[63 - t];
}

TEST_CASE("a missing barrier: the race or the read of unwritten memory is reported; with it there is none") {
  DeviceArray data(64);
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    CHECK(message_of([&] { launch<reverse_block<true>>(1, 64, 0, Stream{})(data.data); }) == "");
    const std::string message =
        message_of([&] { launch<reverse_block<false>>(1, 64, 0, Stream{})(data.data); });
    CAPTURE(message);
    CHECK(has(message, "reverse_block<false>, block (0,0,0), thread ("));
    CHECK(has(message, at_line(__FILE__, line_reverse + 2)));
    CHECK(has(message, "reads 4 bytes at byte "));
    CHECK(has(message, "of shared array tile, which no thread of the block has written"));
  }
}

// A missing barrier between rounds: the memory is written, so only the order is wrong.
constexpr int line_sum = __LINE__ + 8;
template <bool Barrier>
__global__ void sum_by_tree(const float* in, float* out) {
  SHARED(float, scratch, 128);
  scratch[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  for (int half = 64; half > 0; half /= 2) {
    if (int(threadIdx.x) < half) {
      scratch[threadIdx.x] += scratch[threadIdx.x + half];
    }
    if (Barrier) __syncthreads();
  }
  if (threadIdx.x == 0) out[0] = scratch[0];
}

TEST_CASE("a race between threads of different warps names both and both lines") {
  DeviceArray in(128), out(1);
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    CHECK(message_of([&] { launch<sum_by_tree<true>>(1, 128, 0, Stream{})(in.data, out.data); }) == "");
    CHECK(out.data[0] == 8128);
    const std::string message =
        message_of([&] { launch<sum_by_tree<false>>(1, 128, 0, Stream{})(in.data, out.data); });
    CAPTURE(message);
    CHECK(has(message, "sum_by_tree<false>, block (0,0,0), thread ("));
    CHECK(has(message, at_line(__FILE__, line_sum)));
    CHECK(has(message, "of shared array scratch, a race: thread ("));
    CHECK(has(message, "with no barrier in between"));
  }
}

// Within a warp __syncwarp and the other collectives are barriers for their lanes.
enum class Between { nothing, syncwarp, shuffle, half, too_early };
template <Between B>
__global__ void neighbours(float* out) {
  SHARED(float, row, 32);
  const int t = int(threadIdx.x);
  if (B == Between::too_early) row[t] = 0;
  if (B == Between::too_early) __syncwarp();
  row[t] = float(t);
  if (B == Between::syncwarp) __syncwarp();
  if (B == Between::shuffle) row[t] += __shfl_sync(0xffffffffu, 0.0f, 0);
  if (B == Between::shuffle) (void)__ballot_sync(0xffffffffu, 1);
  if (B == Between::half) __syncwarp(t < 16 ? 0xffffu : 0xffff0000u);
  out[t] = row[(t + 1) % 32];
}
template <Between B>
std::string run_neighbours() {
  DeviceArray out(32);
  return message_of([&] { launch<neighbours<B>>(1, 32, 0, Stream{})(out.data); });
}

TEST_CASE("collectives order the lanes they name, and no others") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    CHECK(run_neighbours<Between::syncwarp>() == "");
    CHECK(run_neighbours<Between::shuffle>() == "");
    CHECK(run_neighbours<Between::nothing>() != "");
    CHECK(
        has(run_neighbours<Between::too_early>(), "a race: thread ("));  // what came after it is not ordered
    const std::string message = run_neighbours<Between::half>();
    CAPTURE(message);
    CHECK((has(message, "a race: thread (16,0,0)") || has(message, "a race: thread (0,0,0)") ||
           has(message, "which no thread of the block has written")));
  }
}

// Lane 0 learns of lane 2 through lane 1 only.
__global__ void through_a_third(float* out) {
  SHARED(float, slot, 1);
  const int t = int(threadIdx.x);
  if (t == 2) slot[0] = 5;
  if (t == 1 || t == 2) __syncwarp(6);
  if (t == 0 || t == 1) __syncwarp(3);
  if (t == 0) out[0] = slot[0];
}

TEST_CASE("order passes from lane to lane") {
  DeviceArray out(1);
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    CHECK(message_of([&] { launch<through_a_third>(1, 32, 0, Stream{})(out.data); }) == "");
    CHECK(out.data[0] == 5);
  }
}

__global__ void write_after_read(float* out) {
  SHARED(float, slot, 1);
  if (threadIdx.x == 0) slot[0] = 1;
  __syncthreads();
  if (threadIdx.x < 40) out[threadIdx.x] = slot[0];
  if (threadIdx.x == 40) slot[0] = 2;
}
__global__ void same_value_written_by_all() {
  SHARED(int, flag, 1);
  flag[0] = 1;
}
__global__ void counts(int* out, bool plain) {
  SHARED(int, count, 1);
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  atomicAdd(&count[0], 1);
  if (plain && threadIdx.x == 7) count[0] = 3;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = count[0];
}

TEST_CASE("write after read, write after write, and atomics, which race with plain writes only") {
  DeviceArray out(64);
  int count = 0;
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    std::string message = message_of([&] { launch<write_after_read>(1, 64, 0, Stream{})(out.data); });
    CAPTURE(message);
    CHECK(has(message, "of shared array slot, a race: thread ("));
    message = message_of([&] { launch<same_value_written_by_all>(1, 64, 0, Stream{})(); });
    CHECK(has(message, "writes 4 bytes at byte 0 of shared array flag, a race: thread ("));
    CHECK(has(message, "wrote it at"));
    CHECK(message_of([&] { launch<counts>(1, 64, 0, Stream{})(&count, false); }) == "");
    CHECK(count == 64);
    CHECK(has(message_of([&] { launch<counts>(1, 64, 0, Stream{})(&count, true); }),
              "of shared array count, a race"));
  }
}

__global__ void bytes_side_by_side(unsigned char* out) {
  SHARED(unsigned char, row, 64);
  row[threadIdx.x] = (unsigned char)threadIdx.x;
  out[threadIdx.x] = row[threadIdx.x];
}

TEST_CASE("neighbouring bytes of one word are no race") {
  unsigned char out[64];
  CHECK(message_of([&] { launch<bytes_side_by_side>(1, 64, 0, Stream{})(out); }) == "");
}

// A word written by one thread, in two halves by two, or all of it but one byte; then read whole.
enum class Pieces { whole_then_byte, halves, three_bytes, same_byte };
template <Pieces P>
__global__ void pieces(unsigned* out) {
  SHARED(unsigned, words, 1);
  auto* const bytes = reinterpret_cast<unsigned char*>(words);
  auto* const halves = reinterpret_cast<unsigned short*>(words);
  const int t = int(threadIdx.x);
  if (P == Pieces::whole_then_byte) {
    if (t == 0) words[0] = 0x01020304;
    __syncthreads();
    if (t == 40) bytes[2] = 9;
  }
  if (P == Pieces::halves && t % 32 == 0) halves[t / 32] = 7;
  if (P == Pieces::three_bytes && t < 3) bytes[t] = 7;
  if (P == Pieces::same_byte && t % 32 == 0) bytes[1] = 7;
  if (P != Pieces::whole_then_byte) __syncthreads();
  if (t == 0) out[0] = words[0];
}
template <Pieces P>
std::string run_pieces() {
  unsigned out = 0;
  return message_of([&] { launch<pieces<P>>(1, 64, 0, Stream{})(&out); });
}

TEST_CASE("accesses of different sizes meet byte by byte") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    CHECK(run_pieces<Pieces::halves>() == "");
    CHECK(has(run_pieces<Pieces::whole_then_byte>(), "at byte 2 of shared array words, a race: "));
    CHECK(has(run_pieces<Pieces::three_bytes>(),
              "reads 4 bytes at byte 3 of shared array words, which no thread of the block has written"));
    CHECK(has(run_pieces<Pieces::same_byte>(), "writes 1 byte at byte 1 of shared array words, a race: "));
    CHECK(run_pieces<Pieces::halves>() == "");
  }
}

constexpr int line_off_by_one = __LINE__ + 4;
__global__ void off_by_one(float* out, int n) {
  SHARED(float, first, 32);
  SHARED(float, second, 32);
  for (int i = int(threadIdx.x); i <= n; i += int(blockDim.x)) first[i] = 1;
  second[threadIdx.x] = 2;
  __syncthreads();
  out[threadIdx.x] = first[threadIdx.x] + second[threadIdx.x];
}
__global__ void before_the_first() {
  SHARED(float, row, 32);
  row[int(threadIdx.x) - 1] = 0;
}
__global__ void past_dynamic() {
  SHARED_DYNAMIC(float, row);
  row[threadIdx.x] = 0;
}

TEST_CASE("shared memory out of bounds") {
  DeviceArray out(64);
  CHECK(message_of([&] { launch<off_by_one>(1, 32, 0, Stream{})(out.data, 31); }) == "");
  std::string message = message_of([&] { launch<off_by_one>(2, 32, 0, Stream{})(out.data, 32); });
  CAPTURE(message);
  CHECK(has(message, "off_by_one, block ("));
  CHECK(has(message, "thread (0,0,0) at "));
  CHECK(has(message, at_line(__FILE__, line_off_by_one)));
  CHECK(has(message, "writes 4 bytes at byte 128 of first, which is out of bounds: it has 128 bytes"));
  message = message_of([&] { launch<before_the_first>(1, 32, 0, Stream{})(); });
  CAPTURE(message);
  CHECK(has(message, "thread (0,0,0)"));
  CHECK(has(message, "at byte -4 of row"));
  message = message_of([&] { launch<past_dynamic>(1, 32, 100, Stream{})(); });
  CAPTURE(message);
  CHECK(has(message, "thread (25,0,0)"));
  CHECK(has(message, "at byte 100 of the dynamic shared memory, which is out of bounds: it has 100 bytes"));
}

constexpr int line_scale = __LINE__ + 3;
__global__ void scale_without_tail(float* x, float a) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  x[i] *= a;
}
__global__ void read4(const float* x, float* out) {
  const float4 v = *reinterpret_cast<const float4*>(x + threadIdx.x * 4);
  out[threadIdx.x] = v.x + v.y + v.z + v.w;
}

TEST_CASE("device memory out of bounds, and after it was freed") {
  float* freed = nullptr;
  {
    DeviceArray x(100), out(32);
    freed = x.data;
    CHECK(message_of([&] { launch<scale_without_tail>(2, 50, 0, Stream{})(x.data, 2); }) == "");
    const std::string message =
        message_of([&] { launch<scale_without_tail>(2, 64, 0, Stream{})(x.data, 2); });
    CAPTURE(message);
    CHECK(has(message, "scale_without_tail, block (1,0,0), thread (36,0,0) at "));
    CHECK(has(message, at_line(__FILE__, line_scale)));
    CHECK(has(message,
              "reads 4 bytes at byte 400 of a block of device memory of 400 bytes, which is out of bounds"));
    CHECK(message_of([&] { launch<read4>(1, 25, 0, Stream{})(x.data, out.data); }) == "");
    const std::string wide = message_of([&] { launch<read4>(1, 25, 0, Stream{})(x.data + 1, out.data); });
    CAPTURE(wide);
    CHECK(has(wide, "read4, block (0,0,0), thread (24,0,0)"));
    const std::string below =
        message_of([&] { launch<scale_without_tail>(1, 1, 0, Stream{})(x.data - 1, 2); });
    CHECK(has(below, "at byte -4 of a block"));
  }
  const std::string message = message_of([&] { launch<scale_without_tail>(1, 1, 0, Stream{})(freed, 2); });
  CHECK(has(message, "which has been freed"));
}

TEST_CASE("memory that somebody registered") {
  std::vector<float> host(64);
  const auto run = [&] {
    return message_of([&] { launch<scale_without_tail>(1, 40, 0, Stream{})(host.data(), 2); });
  };
  CHECK(run() == "");  // nobody's: left alone
  simt::register_memory(host.data(), 32 * sizeof(float), 32 * sizeof(float));
  CHECK(has(run(), "thread (32,0,0)"));
  simt::unregister_memory(host.data());
  CHECK(run() == "");
}

__global__ void blocks_meet(float* x, int shift) {
  const int n = int(gridDim.x * blockDim.x), i = int(blockIdx.x * blockDim.x + threadIdx.x);
  x[n + i] = x[(i + shift) % n];
}
__global__ void blocks_in_place(float* x, int shift) {
  const int n = int(gridDim.x * blockDim.x), i = int(blockIdx.x * blockDim.x + threadIdx.x);
  x[i] = x[(i + shift) % n];
}

__global__ void first_reads_others_write(float* x) {
  if (blockIdx.x == 0) x[1] = x[0];
  if (blockIdx.x == 1) x[0] = 1;
}
__global__ void all_update(float* x, bool plain) {
  if (plain && blockIdx.x == 1) {
    x[0] = 1;
  } else {
    atomicAdd(&x[0], 1.0f);
  }
}

TEST_CASE("races between blocks, on request") {
  DeviceArray x(128);
  for (const auto order :
       {simt::ThreadOrder::forward, simt::ThreadOrder::reverse, simt::ThreadOrder::random}) {
    const auto run = [&](bool check, int shift, bool in_place) {
      const WithOptions with({.order = order, .check_global_races = check});
      return message_of([&] {
        if (in_place) {
          launch<blocks_in_place>(4, 16, 0, Stream{})(x.data, shift);
        } else {
          launch<blocks_meet>(4, 16, 0, Stream{})(x.data, shift);
        }
      });
    };
    CHECK(run(true, 3, false) == "");
    CHECK(run(false, 3, true) == "");
    const std::string message = run(true, 3, true);
    CAPTURE(message);
    CHECK(has(message, "blocks_in_place, block ("));
    CHECK(has(message, "a race: block ("));
    CHECK(has(message, "in the same launch"));
    const WithOptions with({.order = order, .check_global_races = true});
    CHECK(has(message_of([&] { launch<first_reads_others_write>(2, 1, 0, Stream{})(x.data); }),
              "a race: block ("));
    CHECK(message_of([&] { launch<all_update>(3, 1, 0, Stream{})(x.data, false); }) == "");
    CHECK(has(message_of([&] { launch<all_update>(3, 1, 0, Stream{})(x.data, true); }), "a race: block ("));
  }
}

// 32 lanes 32 floats apart hit one bank; one more float per row and they hit 32.
template <int Pitch>
__global__ void transpose_tile(const float* in, float* out) {
  SHARED(float, tile, 32 * Pitch);
  const int x = int(threadIdx.x), y = int(threadIdx.y);
  tile[y * Pitch + x] = in[y * 32 + x];
  __syncthreads();
  out[x * 32 + y] = tile[x * Pitch + y];
}

TEST_CASE("bank conflicts and sectors are counted by line") {
  DeviceArray in(1024), out(1024);
  const WithOptions with({.count_accesses = true});
  simt::reset_access_report();
  launch<transpose_tile<32>>(1, dim3(32, 32), 0, Stream{})(in.data, out.data);
  launch<transpose_tile<33>>(1, dim3(32, 32), 0, Stream{})(in.data, out.data);
  const auto report = simt::access_report();
  const auto find = [&](const char* kernel, bool shared, bool write) {
    for (const auto& site : report) {
      if (has(site.kernel, kernel) && site.shared == shared && site.write == write) return site;
    }
    FAIL("not in the report");
    return simt::AccessSite{};
  };
  for (const auto& [kernel, passes] : {std::pair{"transpose_tile<32>", 32}, {"transpose_tile<33>", 1}}) {
    CAPTURE(kernel);
    const auto read = find(kernel, true, false);
    CHECK(read.requests == 32);  // 32 warps, once each
    CHECK(read.transactions == 32 * std::uint64_t(passes));
    CHECK(read.ideal == 32);
    CHECK(has(read.place, "test_racecheck.cu:"));
    CHECK(find(kernel, true, true).transactions == 32);
    // A row of 32 floats is 4 sectors; a column touches 32.
    CHECK(find(kernel, false, false).transactions == 32 * 4);
    CHECK(find(kernel, false, true).transactions == 32 * 32);
    CHECK(find(kernel, false, true).ideal == 32 * 4);
  }
  CHECK(report.front().transactions - report.front().ideal == 32 * 31);
  simt::reset_access_report();
  CHECK(simt::access_report().empty());
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET

#endif
