// Weight and bias gradients of fully connected layers:
//   linear_wgrad  dw[k, c] = Σ_n dy[n, k] · x[n, c]
//   column_sums   y[c] = Σ_row x[row, c]
// each added to what the result holds if asked for. Row-major float32; accumulation in float32.
//
// Launch, linear_wgrad: one block of 64 threads per 64 outputs k × 64 channels c; thread t sums outputs (t / 8) · 8 …
// + 7 and channels (t mod 8) · 8 … + 7, images in rising order, 8 at a time through shared memory. Launch,
// column_sums: rows are cut into slices (train_sizes.cpp); a block of 32 × 8 threads sums 32 columns of one slice, thread
// (c, i) rows i, i + 8, … in order, then the first eighth adds the eight sums in order and writes them to
// workspace[slice][c]; a second launch of one thread per column adds the slices in order. The order depends on nothing
// but the number of rows.
#include "kernels/ops/common.cuh"
#include "kernels/ops/train.h"
#include "kernels/simt/register_tile.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int tile = 64, step = 8, tile_threads = 64;
constexpr int sum_columns = 32, sum_parts = 8;

// Where element `i` of a tile's row stands: the halves of each thread's eight lie tile / 2 apart, so that
// neighbouring threads read neighbouring 16 bytes.
__device__ __forceinline__ int place_of(int i) {
  return (i & 4) * (tile / 8) + (i >> 3) * 4 + (i & 3);
}

// Four neighbours of row `row` of a [rows, columns] matrix, 0 beyond its ends.
__device__ __forceinline__ float4 load_four(const float* from, int rows, int columns, int row, int column,
                                            bool wide) {
  float v[4] = {0, 0, 0, 0};
  if (row < rows && column < columns) {
    from += 1LL * row * columns + column;
    if (wide) {
      load_wide<4>(from, v);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (column + i < columns) v[i] = from[i];
      }
    }
  }
  return make_float4(v[0], v[1], v[2], v[3]);
}

__global__ void __launch_bounds__(tile_threads) wgrad(LinearWgrad a, bool wide_dy, bool wide_x) {
  SHARED(float, tile_dy, step* tile);
  SHARED(float, tile_x, step* tile);
  const int t = int(threadIdx.x);
  const unsigned c_tiles = unsigned(a.c - 1) / tile + 1;
  const int first_c = int(blockIdx.x % c_tiles) * tile, first_k = int(blockIdx.x / c_tiles) * tile;
  RegisterTile sum;
  sum.clear();
  for (int n = 0; n < a.n; n += step) {
    if (n > 0) __syncthreads();  // everyone has read the last step
#pragma unroll
    for (int piece = t; piece < step * tile / 4; piece += tile_threads) {
      const int i = piece / (tile / 4), at = piece % (tile / 4) * 4;
      *reinterpret_cast<float4*>(tile_dy + i * tile + at) =
          load_four(a.dy, a.n, a.k, n + i, first_k + at, wide_dy);
      *reinterpret_cast<float4*>(tile_x + i * tile + place_of(at)) =
          load_four(a.x, a.n, a.c, n + i, first_c + at, wide_x);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < step; ++i) {
      const float* const x = tile_x + i * tile + t % 8 * 4;
      sum.multiply_add(tile_dy + i * tile + t / 8 * 8, x, x + tile / 2);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int k = first_k + t / 8 * 8 + i, c = first_c + t % 8 * 8;
    if (k >= a.k) break;
    float* const to = a.dw + 1LL * k * a.c + c;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      if (c + j < a.c) to[j] = a.accumulate ? to[j] + sum.at(i, j) : sum.at(i, j);
    }
  }
}

__global__ void __launch_bounds__(sum_columns* sum_parts) sum_rows(ColumnSums a, int slice_rows) {
  SHARED(float, sums, sum_parts* sum_columns);
  const int column = int(blockIdx.x) * sum_columns + int(threadIdx.x), part = int(threadIdx.y);
  const long long first = 1LL * blockIdx.y * slice_rows, end = min(first + slice_rows, 1LL * a.rows);
  float sum = 0;
  if (column < a.columns) {
#pragma unroll 4
    for (long long row = first + part; row < end; row += sum_parts) sum += a.x[row * a.columns + column];
  }
  sums[part * sum_columns + threadIdx.x] = sum;
  __syncthreads();
  if (part > 0 || column >= a.columns) return;
  for (int i = 1; i < sum_parts; ++i) sum += sums[i * sum_columns + threadIdx.x];
  a.workspace[1LL * blockIdx.y * a.columns + column] = sum;
}

__global__ void sum_slices(ColumnSums a, int slices) {
  const int column = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (column >= a.columns) return;
  float sum = 0;
#pragma unroll 4
  for (int i = 0; i < slices; ++i) sum += a.workspace[1LL * i * a.columns + column];
  a.y[column] = a.accumulate ? a.y[column] + sum : sum;
}

}  // namespace

void linear_wgrad(const LinearWgrad& a, Stream stream) {
  check_positive("linear_wgrad", "n", a.n);
  check_positive("linear_wgrad", "c", a.c);
  check_positive("linear_wgrad", "k", a.k);
  const Operand x{"x", a.x, 4 * checked_elements("linear_wgrad", "x", {a.n, a.c})};
  const Operand dy{"dy", a.dy, 4 * checked_elements("linear_wgrad", "dy", {a.n, a.k})};
  const Operand dw{"dw", a.dw, 4 * checked_elements("linear_wgrad", "dw", {a.k, a.c})};
  for (const Operand& operand : {x, dy, dw}) check_pointer("linear_wgrad", operand.name, operand.data);
  for (const Operand& in : {x, dy}) check_apart("linear_wgrad", dw, in);
  const dim3 grid = grid_of("linear_wgrad", blocks_for(a.c, tile) * blocks_for(a.k, tile));
  launch<wgrad>(grid, tile_threads, 0, stream)(a, a.k % 4 == 0 && aligned({a.dy}, 16),
                                               a.c % 4 == 0 && aligned({a.x}, 16));
}

void column_sums(const ColumnSums& a, Stream stream) {
  const long long scratch = column_sums_workspace(a.rows, a.columns);
  const Operand x{"x", a.x, 4 * checked_elements("column_sums", "x", {a.rows, a.columns})};
  const Operand y{"y", a.y, 4LL * a.columns}, workspace{"workspace", a.workspace, 4 * scratch};
  for (const Operand& operand : {x, y, workspace}) check_pointer("column_sums", operand.name, operand.data);
  for (const Operand& other : {x, workspace}) check_apart("column_sums", y, other);
  check_apart("column_sums", workspace, x);
  const int slices = int(scratch / a.columns);
  const int slice_rows = int(blocks_for(a.rows, slices));
  const dim3 grid = grid_of("column_sums", blocks_for(a.columns, sum_columns), slices);
  launch<sum_rows>(grid, dim3(sum_columns, sum_parts), 0, stream)(a, slice_rows);
  launch<sum_slices>(grid_of("column_sums", blocks_for(a.columns, 64)), 64, 0, stream)(a, slices);
}

}  // namespace retrace::kernels::RETRACE_TARGET
