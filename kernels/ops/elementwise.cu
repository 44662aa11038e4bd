// Element by element:
//   fill         y = value
//   combine      out = a · x + b · y
//   multiply     out = x · y
//   weight_part  out = all · w + positive · max(w, 0) + negative · min(w, 0)
//   seed_targets y = 0, but 1 or values[row, target] at each row's target
//
// Shapes: flat arrays of `count` float32; seed_targets [rows, columns].
//
// Launch: `map` runs one block of 256 threads per 4096 elements; each thread takes 4 groups of 4 neighbours,
// the groups 1024 elements apart, so that every load of a warp is one contiguous 512-byte line. All of a
// thread's loads come before its first store: they overlap, and `out` may be an input. `seed` runs one block
// of 256 threads per row and 1024 columns.
#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"
#include "kernels/ops/relevance.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256;
constexpr int groups = 4;
constexpr int block_elements = threads * groups * 4;

struct FillOp {
  float value;
  __device__ float operator()(float, float) const { return value; }
};
struct CombineOp {
  float a, b;
  __device__ float operator()(float x, float y) const { return a * x + b * y; }
};
struct ScaleOp {
  float a;
  __device__ float operator()(float x, float) const { return a * x; }
};
struct MultiplyOp {
  __device__ float operator()(float x, float y) const { return x * y; }
};
struct WeightPartOp {
  float all, positive, negative;
  __device__ float operator()(float w, float) const {
    return all * w + positive * part_of(Part::positive, w) + negative * part_of(Part::negative, w);
  }
};

template <int Inputs, class Op>
__global__ void __launch_bounds__(threads)
    map(const float* x, const float* y, float* out, long long count, bool wide, Op op) {
  const long long base = blockIdx.x * 1LL * block_elements;
  if (wide && base + block_elements <= count) {
    float a[groups][4] = {}, b[groups][4] = {};
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      const long long i = base + (g * threads + int(threadIdx.x)) * 4;
      if constexpr (Inputs >= 1) load_wide<4>(x + i, a[g]);
      if constexpr (Inputs >= 2) load_wide<4>(y + i, b[g]);
    }
#pragma unroll
    for (int g = 0; g < groups; ++g) {
#pragma unroll
      for (int j = 0; j < 4; ++j) a[g][j] = op(a[g][j], b[g][j]);
      store_wide<4>(out + base + (g * threads + int(threadIdx.x)) * 4, a[g]);
    }
    return;
  }
  const long long left = count - base;
  const int end = left < block_elements ? int(left) : block_elements;
  for (int i = int(threadIdx.x); i < end; i += threads) {
    out[base + i] = op(Inputs >= 1 ? x[base + i] : 0.0f, Inputs >= 2 ? y[base + i] : 0.0f);
  }
}

template <int Inputs, class Op>
void launch_map(const char* launcher, const float* x, const float* y, float* out, long long count, Op op,
                Stream stream) {
  const dim3 grid = grid_of(launcher, blocks_for(count, block_elements));
  launch<map<Inputs, Op>>(grid, threads, 0, stream)(x, y, out, count, aligned({x, y, out}, 16), op);
}

__global__ void __launch_bounds__(threads)
    seed(const std::int32_t* targets, const float* values, float* y, int columns) {
  const long long row = blockIdx.x;
  const int target = targets[row];
  const int first = int(blockIdx.y) * threads * groups + int(threadIdx.x);
#pragma unroll
  for (int g = 0; g < groups; ++g) {
    const int column = first + g * threads;
    if (column >= columns) return;
    const long long i = row * columns + column;
    y[i] = column != target ? 0.0f : values ? values[i] : 1.0f;
  }
}

void check_count(const char* launcher, long long count) {
  if (count < 0) refuse(launcher, "count", std::to_string(count), "0 or more");
  checked_elements(launcher, "the array", {count});
}

}  // namespace

void fill(const Fill& a, Stream stream) {
  check_count("fill", a.count);
  if (a.count == 0) return;
  check_pointer("fill", "y", a.y);
  launch_map<0>("fill", nullptr, nullptr, a.y, a.count, FillOp{a.value}, stream);
}

void combine(const Combine& a, Stream stream) {
  check_count("combine", a.count);
  if (a.count == 0) return;
  check_pointer("combine", "x", a.x);
  check_pointer("combine", "out", a.out);
  const long long bytes = a.count * 4;
  check_same_or_apart("combine", {"out", a.out, bytes}, {"x", a.x, bytes});
  check_same_or_apart("combine", {"out", a.out, bytes}, {"y", a.y, bytes});
  if (a.y) {
    launch_map<2>("combine", a.x, a.y, a.out, a.count, CombineOp{a.a, a.b}, stream);
  } else {
    launch_map<1>("combine", a.x, nullptr, a.out, a.count, ScaleOp{a.a}, stream);
  }
}

void multiply(const Multiply& a, Stream stream) {
  check_count("multiply", a.count);
  if (a.count == 0) return;
  check_pointer("multiply", "x", a.x);
  check_pointer("multiply", "y", a.y);
  check_pointer("multiply", "out", a.out);
  const long long bytes = a.count * 4;
  check_same_or_apart("multiply", {"out", a.out, bytes}, {"x", a.x, bytes});
  check_same_or_apart("multiply", {"out", a.out, bytes}, {"y", a.y, bytes});
  launch_map<2>("multiply", a.x, a.y, a.out, a.count, MultiplyOp{}, stream);
}

void weight_part(const WeightPart& a, Stream stream) {
  check_count("weight_part", a.count);
  if (a.count == 0) return;
  check_pointer("weight_part", "w", a.w);
  check_pointer("weight_part", "out", a.out);
  check_same_or_apart("weight_part", {"out", a.out, a.count * 4}, {"w", a.w, a.count * 4});
  launch_map<1>("weight_part", a.w, nullptr, a.out, a.count, WeightPartOp{a.all, a.positive, a.negative},
                stream);
}

void seed_targets(const SeedTargets& a, Stream stream) {
  check_positive("seed_targets", "rows", a.rows);
  check_positive("seed_targets", "columns", a.columns);
  check_pointer("seed_targets", "targets", a.targets);
  check_pointer("seed_targets", "y", a.y);
  const long long bytes = checked_elements("seed_targets", "y", {a.rows, a.columns}) * 4;
  check_apart("seed_targets", {"y", a.y, bytes}, {"targets", a.targets, a.rows * 4LL});
  check_apart("seed_targets", {"y", a.y, bytes}, {"values", a.values, bytes});
  const dim3 grid = grid_of("seed_targets", a.rows, blocks_for(a.columns, threads * groups));
  launch<seed>(grid, threads, 0, stream)(a.targets, a.values, a.y, a.columns);
}

}  // namespace retrace::kernels::RETRACE_TARGET
