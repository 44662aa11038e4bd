// The output side of the relevance rules (Bach et al. 2015; Montavon et al. 2019), as RelevanceGate states it, and
// the sums the ledger is made of. Element by element:
//   relu_pass    dx = (x > 0 ? dy · min(x, ceiling) / x : 0) + pending
//   sign_select  out = f · signal + pending, f = positive or negative by the sign of x
//
// Launch: relu_pass and sign_select have one thread per 4 neighbours, blocks of 256; a thread reads all of its values
// before it writes the first, so the result may lie in an operand. In the gate, blockIdx.x walks pieces of 4096 values, blockIdx.y the images. 256 threads; each takes every 256th value,
// so reads are coalesced, and adds its own double sums, which a tree in shared memory then adds in a fixed order.
#include <string>

#include "kernels/ops/common.cuh"
#include "kernels/ops/relevance.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

constexpr int gate_threads = 256;

struct Quotient {
  float s, lost;  // lost: to the stabilizer
};

// r / stab(d); everything is dropped where stab(d) is 0.
__device__ __forceinline__ Quotient quotient(float r, float d, float epsilon, double& dropped) {
  const float sign = d >= 0 ? epsilon : -epsilon;
  if (r == 0) return {0, 0};
  if (d + sign == 0) {
    dropped += r;
    return {0, 0};
  }
  const float s = r / (d + sign);
  return {s, s * sign};
}

__device__ __forceinline__ float at(const float* bias, int channel) {
  return bias ? bias[channel] : 0.0f;
}

__global__ void __launch_bounds__(gate_threads) gate(RelevanceGate a) {
  const long long first = static_cast<long long>(blockIdx.x) * gate_block_elements;
  const long long end = first + gate_block_elements < a.count ? first + gate_block_elements : a.count;
  const long long image = static_cast<long long>(blockIdx.y) * a.count;
  const bool with_bias = a.bias != BiasPolicy::ignore;
  GateSums sums{0, 0, 0, 0, 0};
  for (long long e = first + threadIdx.x; e < end; e += gate_threads) {
    const long long i = image + e;
    const int channel = static_cast<int>(e % a.channels);
    const float v = a.v[i], r = a.c[i] * v;
    const float b = at(a.b, channel);
    float s = 0, f = 0, s2 = 0, f2 = 0;
    sums.entering += r;
    sums.flow += r < 0 ? -r : r;
    if (a.rule == GateRule::epsilon) {
      const Quotient q = quotient(r, a.bias == BiasPolicy::ignore ? v - b : v, a.epsilon, sums.dropped);
      s = q.s;
      sums.absorbed_epsilon += q.lost;
      if (a.bias == BiasPolicy::absorb) sums.absorbed_bias += s * b;
      if (a.bias == BiasPolicy::spread && b != 0) {
        const float p = a.positive[i];
        if (p != 0)
          f = s * b / p;
        else
          sums.dropped += s * b;
      }
    } else if (a.rule == GateRule::gamma) {
      const float base = with_bias ? v : v - b;
      if (base == 0) {
        sums.dropped += r;
      } else {
        const bool up = base > 0;
        const float part = up ? a.positive[i] : a.negative[i];
        const float clamped = with_bias ? at(up ? a.bp : a.bn, channel) : 0.0f;
        const Quotient q = quotient(r, base + a.gamma * (part + clamped), a.epsilon, sums.dropped);
        const float share = b + a.gamma * clamped;
        sums.absorbed_epsilon += q.lost;
        if (a.bias == BiasPolicy::absorb) sums.absorbed_bias += q.s * share;
        float fed = 0;
        if (a.bias == BiasPolicy::spread) {
          if (part != 0)
            fed = q.s * (a.gamma + share / part);
          else
            sums.dropped += q.s * share;
        }
        (up ? s : s2) = q.s;
        (up ? f : f2) = fed;
      }
    } else if (a.rule == GateRule::alpha_beta) {
      const bool absorbs = a.bias == BiasPolicy::absorb;
      const float up = absorbs ? at(a.bp, channel) : 0.0f, down = absorbs ? at(a.bn, channel) : 0.0f;
      const Quotient p = quotient(a.alpha * r, a.positive[i] + up, a.epsilon, sums.dropped);
      const Quotient n = quotient(-a.beta * r, a.negative[i] + down, a.epsilon, sums.dropped);
      s = p.s;
      s2 = n.s;
      sums.absorbed_epsilon += p.lost + n.lost;
      sums.absorbed_bias += s * up + s2 * down;
    } else {
      const float up = a.bias == BiasPolicy::absorb ? at(a.bp, channel) : 0.0f;
      const Quotient q = quotient(r, a.positive[i] + up, a.epsilon, sums.dropped);
      s = q.s;
      sums.absorbed_epsilon += q.lost;
      sums.absorbed_bias += s * up;
    }
    if (a.s) a.s[i] = s;
    if (a.f) a.f[i] = f;
    if (a.s2) a.s2[i] = s2;
    if (a.f2) a.f2[i] = f2;
  }
  if (!a.sums) return;
  SHARED(GateSums, partial, gate_threads);
  partial[threadIdx.x] = sums;
  for (unsigned half = gate_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      const GateSums other = partial[threadIdx.x + half];
      sums.entering += other.entering;
      sums.flow += other.flow;
      sums.absorbed_bias += other.absorbed_bias;
      sums.absorbed_epsilon += other.absorbed_epsilon;
      sums.dropped += other.dropped;
      partial[threadIdx.x] = sums;
    }
  }
  if (threadIdx.x == 0) a.sums[blockIdx.y * gridDim.x + blockIdx.x] = sums;
}

struct ReluPassOp {
  float ceiling;
  // of one value of the ReLU's input
  __device__ __forceinline__ float operator()(float x) const {
    return !(x > 0.0f) ? 0.0f : x > ceiling ? ceiling / x : 1.0f;
  }
  // 0 · a signal that is not finite must stay 0
  __device__ __forceinline__ float with(float f, float signal, float pending) const {
    return f == 0.0f ? pending : multiply_add(f, signal, pending);
  }
};
struct SignSelectOp {
  float positive, negative;
  __device__ __forceinline__ float operator()(float x) const {
    return x > 0.0f ? positive : x < 0.0f ? negative : x == 0.0f ? 0.0f : x;
  }
  __device__ __forceinline__ float with(float f, float signal, float pending) const {
    return multiply_add(f, signal, pending);
  }
};

// The values of one thread, the first `left` of 4; beyond them, or where `from` is null, `fallback`.
__device__ __forceinline__ void load_four(bool wide, const float* from, long long i, long long left,
                                          float fallback, float (&v)[4]) {
  if (from && wide && left >= 4) {
    load_wide<4>(from + i, v);
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) v[j] = from && j < left ? from[i + j] : fallback;
}

// out = op.with(op(x), signal, pending)
template <class Op>
__global__ void __launch_bounds__(256) scale(long long count, const float* x, const float* signal,
                                             const float* pending, float* out, bool wide, Op op) {
  const long long i = (blockIdx.x * 256LL + threadIdx.x) * 4, left = count - i;
  if (left <= 0) return;
  float v[4], s[4], p[4];
  load_four(wide, x, i, left, 0.0f, v);
  load_four(wide, signal, i, left, 1.0f, s);
  load_four(wide, pending, i, left, 0.0f, p);
#pragma unroll
  for (int j = 0; j < 4; ++j) v[j] = op.with(op(v[j]), s[j], p[j]);
  if (wide && left >= 4) {
    store_wide<4>(out + i, v);
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < left) out[i + j] = v[j];
  }
}

// One thread per image.
__global__ void add_sums(RelevanceSums a) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= a.n) return;
  GateSums total{0, 0, 0, 0, 0};
  for (int b = 0; b < a.blocks; ++b) {
    const GateSums& one = a.sums[static_cast<long long>(i) * a.blocks + b];
    total.entering += one.entering;
    total.flow += one.flow;
    total.absorbed_bias += one.absorbed_bias;
    total.absorbed_epsilon += one.absorbed_epsilon;
    total.dropped += one.dropped;
  }
  a.out[i] = total;
}

void check_scale(const char* launcher, long long count, const Operand& out, const float* x,
                 const Operand& signal, const float* pending) {
  if (count < 0) refuse(launcher, "count", std::to_string(count), "0 or more");
  checked_elements(launcher, "the array", {count});
  if (count == 0) return;
  check_pointer(launcher, "x", x);
  check_pointer(launcher, out.name, out.data);
  check_same_or_apart(launcher, out, {"x", x, count * 4});
  check_same_or_apart(launcher, out, signal);
  check_same_or_apart(launcher, out, {"pending", pending, count * 4});
}

template <class Op>
void launch_scale(const char* launcher, long long count, const float* x, const float* signal,
                  const float* pending, float* out, Op op, Stream stream) {
  const dim3 grid = grid_of(launcher, blocks_for(count, 256 * 4));
  const bool wide = aligned({x, signal, pending, out}, 16);
  launch<scale<Op>>(grid, 256, 0, stream)(count, x, signal, pending, out, wide, op);
}

void require(bool holds, const char* launcher, const char* what) {
  if (!holds) throw Error(std::string(launcher) + ": " + what);
}

}  // namespace

void relevance_gate(const RelevanceGate& a, Stream stream) {
  constexpr const char* name = "relevance_gate";
  require(a.n >= 1 && a.n <= 65535 && a.count >= 1 && a.channels >= 1 && a.count % a.channels == 0, name,
          "n must be in 1 … 65535 and count a positive multiple of channels");
  require(a.count / gate_block_elements < (1LL << 31) - 1, name, "too many values per image");
  require(a.c && a.v && a.s, name, "c, v and s are required");
  require(a.epsilon >= 0, name, "epsilon must not be negative");
  const bool spread = a.bias == BiasPolicy::spread;
  switch (a.rule) {
    case GateRule::epsilon:
      require(!spread || !a.b || (a.positive && a.f), name, "epsilon with spread needs P and f");
      break;
    case GateRule::gamma:
      require(a.positive && (a.negative || !a.s2), name, "gamma needs P, and N with s2");
      require(!spread || (a.f && (a.f2 || !a.s2)), name, "gamma with spread needs f, and f2 with s2");
      break;
    case GateRule::alpha_beta:
      require(a.positive && a.negative && a.s2, name, "alpha_beta needs P, N and s2");
      break;
    case GateRule::ratio:
      require(a.positive, name, "ratio needs P");
      break;
  }
  launch<gate>(dim3(unsigned(gate_blocks(a.count)), unsigned(a.n)), gate_threads, 0, stream)(a);
}

void relu_pass(const ReluPass& a, Stream stream) {
  check_scale("relu_pass", a.count, {"dx", a.dx, a.count * 4}, a.x, {"dy", a.dy, a.count * 4}, a.pending);
  if (!(a.ceiling > 0)) refuse("relu_pass", "ceiling", std::to_string(a.ceiling), "more than 0");
  if (a.count == 0) return;
  check_pointer("relu_pass", "dy", a.dy);
  launch_scale("relu_pass", a.count, a.x, a.dy, a.pending, a.dx, ReluPassOp{a.ceiling}, stream);
}

void sign_select(const SignSelect& a, Stream stream) {
  check_scale("sign_select", a.count, {"out", a.out, a.count * 4}, a.x, {"signal", a.signal, a.count * 4},
              a.pending);
  if (a.count == 0) return;
  launch_scale("sign_select", a.count, a.x, a.signal, a.pending, a.out, SignSelectOp{a.positive, a.negative},
               stream);
}

void relevance_sums(const RelevanceSums& a, Stream stream) {
  require(a.n >= 1 && a.blocks >= 1 && a.sums && a.out, "relevance_sums",
          "n, blocks, sums and out are required");
  launch<add_sums>(unsigned((a.n + 63) / 64), 64, 0, stream)(a);
}

}  // namespace retrace::kernels::RETRACE_TARGET
