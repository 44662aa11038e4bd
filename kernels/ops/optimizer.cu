// Steps of optimizers over one long array of parameters, and the norm that clips their gradients. The formulas and
// their order are torch.optim.SGD's, torch.optim.AdamW's and torch.nn.utils.clip_grad_norm_'s.
//
//   sgd_step      g = scale · dw + decay · w;  v = momentum · v + g;  w −= rate · (nesterov ? g + momentum · v : v)
//   adamw_step    w −= rate · decay · w;  m = β1 m + (1 − β1) g;  s = β2 s + (1 − β2) g²;
//                 w −= rate / (1 − β1^t) · m / (√s / √(1 − β2^t) + ε)
//   sum_squares   partial[i] = Σ x² over slice i of 65536 elements, in double
//   clip_scale    norm = √(Σ partial);  scale = min(1, max_norm / (norm + 1e-6))
//
// Launch: the steps one thread per 4 elements, blocks of 256, strided over at most 4096 blocks; sum_squares one block
// of 256 threads per slice, each thread adding every 256th four of its slice in order, then a tree of fixed shape;
// clip_scale one warp, lanes adding every 32nd partial in order, then a butterfly.
#include <cmath>

#include "kernels/ops/common.cuh"
#include "kernels/ops/slices.h"
#include "kernels/ops/train.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads) sgd(SgdStep a) {
  const float scale = a.scale ? *a.scale : 1.0f;
  for (long long first = (blockIdx.x * 1LL * threads + threadIdx.x) * 4; first < a.count;
       first += 4LL * threads * gridDim.x) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const long long i = first + j;
      if (i >= a.count) break;
      const float w = a.w[i];
      const float g = multiply_add(a.weight_decay, w, scale * a.dw[i]);
      float move = g;
      if (a.velocity) {
        const float v = multiply_add(a.momentum, a.velocity[i], g);
        a.velocity[i] = v;
        move = a.nesterov ? multiply_add(a.momentum, v, g) : v;
      }
      a.w[i] = w - a.rate * move;
    }
  }
}

__global__ void __launch_bounds__(threads) adamw(AdamWStep a, float step_size, float inverse_root) {
  const float scale = a.scale ? *a.scale : 1.0f;
  for (long long first = (blockIdx.x * 1LL * threads + threadIdx.x) * 4; first < a.count;
       first += 4LL * threads * gridDim.x) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const long long i = first + j;
      if (i >= a.count) break;
      const float g = scale * a.dw[i];
      const float m = a.beta1 * a.first[i] + (1 - a.beta1) * g;
      const float s = a.beta2 * a.second[i] + (1 - a.beta2) * g * g;
      a.first[i] = m;
      a.second[i] = s;
      const float w = a.w[i] * (1 - a.rate * a.weight_decay);
      a.w[i] = w - step_size * (m / (sqrtf(s) * inverse_root + a.epsilon));
    }
  }
}

__global__ void __launch_bounds__(threads) squares(SumSquares a, bool wide) {
  SHARED(double, sums, threads);
  const int t = int(threadIdx.x);
  const long long begin = blockIdx.x * 1LL * squares_slice;
  const long long end = begin + squares_slice < a.count ? begin + squares_slice : a.count;
  double sum = 0;
  for (long long i = begin + t * 4; i < end; i += threads * 4) {
    float v[4] = {};
    if (wide && i + 4 <= end) {
      load_wide<4>(a.x + i, v);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (i + j < end) v[j] = a.x[i + j];
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) sum += double(v[j]) * double(v[j]);
  }
  sums[t] = sum;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) sums[t] += sums[t + half];
  }
  if (t == 0) a.partial[blockIdx.x] = sums[0];
}

__global__ void __launch_bounds__(32) clip(ClipScale a) {
  double sum = 0;
  for (int i = int(threadIdx.x); i < a.partials; i += 32) sum += a.partial[i];
#pragma unroll
  for (int bit = 16; bit >= 1; bit /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, bit);
  if (threadIdx.x != 0) return;
  const float norm = float(sqrt(sum));
  float scale = 1;
  if (a.max_norm > 0) {
    scale = a.max_norm / (norm + 1e-6f);
    scale = scale > 1 ? 1.0f : scale;
  }
  *a.norm = norm;
  *a.scale = norm - norm == 0 ? scale : NAN;  // infinity and NaN differ from themselves by NaN
}

dim3 step_grid(long long count) {
  return dim3(unsigned(std::min(4096LL, blocks_for(blocks_for(count, 4), threads))));
}

}  // namespace

void sgd_step(const SgdStep& a, Stream stream) {
  check_positive("sgd_step", "count", a.count);
  check_pointer("sgd_step", "dw", a.dw);
  check_pointer("sgd_step", "w", a.w);
  if (!a.velocity && (a.momentum != 0 || a.nesterov)) {
    refuse("sgd_step", "velocity", "null", "memory for the momentum");
  }
  const long long bytes = 4 * checked_elements("sgd_step", "w", {a.count});
  const Operand w{"w", a.w, bytes}, dw{"dw", a.dw, bytes}, v{"velocity", a.velocity, bytes},
      scale{"scale", a.scale, 4};
  check_apart("sgd_step", w, dw);
  check_apart("sgd_step", w, v);
  check_apart("sgd_step", v, dw);
  check_apart("sgd_step", w, scale);
  check_apart("sgd_step", v, scale);
  launch<sgd>(step_grid(a.count), threads, 0, stream)(a);
}

void adamw_step(const AdamWStep& a, Stream stream) {
  const char* const me = "adamw_step";
  check_positive(me, "count", a.count);
  check_positive(me, "step", a.step);
  for (const float beta : {a.beta1, a.beta2}) {
    if (!(beta >= 0 && beta < 1)) refuse(me, "a beta", std::to_string(beta), "0 to below 1");
  }
  const long long bytes = 4 * checked_elements(me, "w", {a.count});
  const Operand w{"w", a.w, bytes}, dw{"dw", a.dw, bytes}, first{"first", a.first, bytes},
      second{"second", a.second, bytes}, scale{"scale", a.scale, 4};
  for (const Operand& o : {w, dw, first, second}) check_pointer(me, o.name, o.data);
  for (const Operand& out : {w, first, second}) {
    check_apart(me, out, dw);
    check_apart(me, out, scale);
  }
  check_apart(me, w, first);
  check_apart(me, w, second);
  check_apart(me, first, second);
  const double step_size = double(a.rate) / (1 - std::pow(double(a.beta1), double(a.step)));
  const double inverse_root = 1 / std::sqrt(1 - std::pow(double(a.beta2), double(a.step)));
  launch<adamw>(step_grid(a.count), threads, 0, stream)(a, float(step_size), float(inverse_root));
}

void sum_squares(const SumSquares& a, Stream stream) {
  const int partials = sum_squares_partials(a.count);
  check_pointer("sum_squares", "x", a.x);
  check_pointer("sum_squares", "partial", a.partial);
  check_apart("sum_squares", {"partial", a.partial, 8LL * partials}, {"x", a.x, 4 * a.count});
  launch<squares>(dim3(unsigned(partials)), threads, 0, stream)(a, aligned({a.x}, 16));
}

void clip_scale(const ClipScale& a, Stream stream) {
  check_positive("clip_scale", "partials", a.partials);
  check_pointer("clip_scale", "partial", a.partial);
  check_pointer("clip_scale", "norm", a.norm);
  check_pointer("clip_scale", "scale", a.scale);
  if (!(a.max_norm >= 0)) refuse("clip_scale", "max_norm", std::to_string(a.max_norm), "0 or more");
  const Operand norm{"norm", a.norm, 4}, scale{"scale", a.scale, 4},
      partial{"partial", a.partial, 8LL * a.partials};
  check_apart("clip_scale", norm, scale);
  check_apart("clip_scale", norm, partial);
  check_apart("clip_scale", scale, partial);
  launch<clip>(dim3(1), 32, 0, stream)(a);
}

}  // namespace retrace::kernels::RETRACE_TARGET
