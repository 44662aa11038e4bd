// Arguments of the launchers that only relevance propagation needs.
#pragma once
#include <cstdint>
#include <limits>

#include "kernels/signal.h"
#include "kernels/stream.h"

namespace retrace::kernels {

// out = all · w + positive · max(w, 0) + negative · min(w, 0), element by element: the weights a rule propagates
// with, e.g. w + γ w⁺ (all 1, positive γ), |w| (positive 1, negative −1).
struct WeightPart {
  long long count = 0;
  const float* w = nullptr;
  float all = 0, positive = 0, negative = 0;
  float* out = nullptr;
};

// Relevance per unit of activation through a ReLU with a ceiling under the rule "pass": R stays, so the quotient by the
// activation grows by y / x, y = min(max(x, 0), ceiling):  dx = (x > 0 ? dy · min(x, ceiling) / x : 0) + pending.
// 0 where x is NaN, as a ReLU's mask has it.
struct ReluPass {
  long long count = 0;
  const float* dy = nullptr;
  const float* x = nullptr;  // the ReLU's input
  float ceiling = std::numeric_limits<float>::infinity();
  const float* pending = nullptr;  // or null
  float* dx = nullptr;             // may be dy, x or pending
};

// out = f · signal + pending, f = positive where x > 0, negative where x < 0, 0 where x = 0, NaN where x is NaN. A null
// signal counts as 1.
struct SignSelect {
  long long count = 0;
  const float* x = nullptr;
  float positive = 1, negative = 1;
  const float* signal = nullptr;   // or null
  const float* pending = nullptr;  // or null
  float* out = nullptr;            // may be x, signal or pending
};

enum class GateRule : std::uint8_t { epsilon, gamma, alpha_beta, ratio };
enum class BiasPolicy : std::uint8_t { absorb, ignore, spread };

// Sums of one image's relevance at one layer, in double.
struct GateSums {
  double entering;          // Σ c · v
  double flow;              // Σ |c · v|
  double absorbed_bias;     // kept by biases
  double absorbed_epsilon;  // lost to the stabilizer
  double dropped;           // where a denominator is zero: units alive only through their bias
};

// The output side of a relevance rule: from the relevance per unit of activation c at a layer's output v, the
// quotients its linear map carries back. R = c · v; stab(d) = d + epsilon · sgn(d); a quotient whose numerator or
// stabilized denominator is 0 is 0. P and N are the sums of the positive and the negative products (without
// bias), b, bp, bn the bias and its clamped parts (sums over the branches that meet in v).
//
//   epsilon     s = R / stab(base), base = v, or v − b under `ignore`.
//               spread: f = s · b / P, where P may be any sum of supporting contributions.
//   gamma       by the sign of base: pos ? D = base + γ (P + bp) : base + γ (N + bn), no b's under `ignore`.
//               s = R / stab(D) goes to s (base > 0) or s2 (base < 0); base = 0 passes nothing.
//               spread: f = s (γ + (b + γ bp) / P), likewise f2 with N and bn.
//   alpha_beta  s = α R / stab(P + bp), s2 = −β R / stab(N + bn); no b's unless `absorb`.
//   ratio       s = R / stab(P + bp); bp only under `absorb`. z-plus, and every first-layer rule.
//
// Outputs a rule or policy does not make are left alone and may be null. n images of `count` values each, channels
// fastest. sums: [n, gate_blocks(count)] GateSums, one per block; RelevanceSums adds them up in order.
struct RelevanceGate {
  GateRule rule = GateRule::epsilon;
  BiasPolicy bias = BiasPolicy::absorb;
  float gamma = 0, alpha = 2, beta = 1, epsilon = 0;
  int n = 1, channels = 1;
  long long count = 1;                 // per image, a multiple of channels
  const float* c = nullptr;            // [n, count]
  const float* v = nullptr;            // [n, count]
  const float* positive = nullptr;     // P or null
  const float* negative = nullptr;     // N or null
  const float* b = nullptr;            // [channels] or null
  const float* bp = nullptr;           // [channels] or null
  const float* bn = nullptr;           // [channels] or null
  float *s = nullptr, *f = nullptr;    // [n, count]
  float *s2 = nullptr, *f2 = nullptr;  // [n, count] or null
  GateSums* sums = nullptr;            // or null
};
inline constexpr long long gate_block_elements = 4096;
constexpr int gate_blocks(long long count) {
  return int((count + gate_block_elements - 1) / gate_block_elements);
}

// out[i] = Σ_b sums[i, b], in order.
struct RelevanceSums {
  int n = 1, blocks = 1;
  const GateSums* sums = nullptr;
  GateSums* out = nullptr;  // [n]
};

}  // namespace retrace::kernels
