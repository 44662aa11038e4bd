// Dropout (Srivastava et al. 2014, the inverted form): y = kept ? x / (1 − p) : 0.
//
// Element i is kept where word i % 4 of Philox(counter = (i / 4, offset), key = seed) is at least p · 2^32: a function
// of seed, offset and i alone. The backward pass is the same launch on dy.
//
// Launch: one thread per 4 elements, blocks of 256.
#include "kernels/ops/common.cuh"
#include "kernels/ops/philox.cuh"
#include "kernels/ops/train.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) drop(Dropout a, std::uint32_t least, float scale) {
  const unsigned long long four = blockIdx.x * 1ULL * threads + threadIdx.x;
  const long long first = (long long)(four)*4;
  if (first >= a.count) return;
  const PhiloxWords words = philox({{std::uint32_t(four), std::uint32_t(four >> 32), std::uint32_t(a.offset),
                                     std::uint32_t(a.offset >> 32)}},
                                   std::uint32_t(a.seed), std::uint32_t(a.seed >> 32));
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (first + j < a.count) a.y[first + j] = words.w[j] >= least ? a.x[first + j] * scale : 0.0f;
  }
}

}  // namespace

void dropout(const Dropout& a, Stream stream) {
  check_positive("dropout", "count", a.count);
  check_pointer("dropout", "x", a.x);
  check_pointer("dropout", "y", a.y);
  if (!(a.p >= 0 && a.p < 1)) refuse("dropout", "p", std::to_string(a.p), "0 to below 1");
  const long long bytes = 4 * checked_elements("dropout", "x", {a.count});
  check_same_or_apart("dropout", {"y", a.y, bytes}, {"x", a.x, bytes});
  // p is below 1 by at least 2^-24, so this is below 2^32.
  const auto least = std::uint32_t(double(a.p) * 4294967296.0);
  launch<drop>(grid_of("dropout", blocks_for(blocks_for(a.count, 4), threads)), threads, 0, stream)(
      a, least, 1 / (1 - a.p));
}

}  // namespace retrace::kernels::RETRACE_TARGET
