// What the launchers of training take, beside conv2d_wgrad (conv/conv.h). float32, NHWC, dense; every result is the
// same bits from run to run.
#pragma once
#include <cstdint>

#include "kernels/signal.h"
#include "kernels/stream.h"

namespace retrace::kernels {

// --- linear_wgrad.cu ---

// dw[k, c] = Σ_n dy[n, k] · x[n, c], added to what dw holds if `accumulate`.
struct LinearWgrad {
  int n = 1, c = 1, k = 1;
  const float* x = nullptr;   // [n, c]
  const float* dy = nullptr;  // [n, k]
  bool accumulate = false;
  float* dw = nullptr;  // [k, c]
};
// y[c] = Σ_row x[row, c]: a bias's gradient.
struct ColumnSums {
  int rows = 1, columns = 1;
  const float* x = nullptr;  // [rows, columns]
  bool accumulate = false;
  float* y = nullptr;          // [columns]
  float* workspace = nullptr;  // column_sums_workspace(rows, columns) floats
};
long long column_sums_workspace(int rows, int columns);

// --- batch_norm.cu: Ioffe & Szegedy 2015, as torch.nn.BatchNorm2d ---

// mean, var over pixels (biased); y = relu((x − mean) / √(var + epsilon) · weight + bias + residual), the residual and
// the ReLU if asked for. running ← (1 − momentum) · running + momentum · batch, with the unbiased variance.
struct BatchNormFprop {
  int pixels = 1, c = 1;          // at least 2 pixels
  const float* x = nullptr;       // [pixels, c]
  const float* weight = nullptr;  // [c]
  const float* bias = nullptr;    // [c]
  float epsilon = 1e-5f, momentum = 0.1f;
  const float* residual = nullptr;  // [pixels, c] or null
  bool relu = false;
  float* running_mean = nullptr;      // [c], both or neither null
  float* running_var = nullptr;       // [c]
  float* mean = nullptr;              // [c], for the backward pass
  float* inverse_std = nullptr;       // [c], 1 / √(var + epsilon)
  float* y = nullptr;                 // [pixels, c]; may be residual
  std::uint8_t* relu_mask = nullptr;  // [pixels, mask_pitch(c)] or null; only with relu
  float* workspace = nullptr;         // batch_norm_workspace(pixels, c) floats, 8-byte aligned
};
// Without the ReLU and residual, which the walk has dealt with: dy is the signal at the normalised sum.
//   dbias = Σ dy;  dweight = Σ dy · x̂;  own = weight · inverse_std · (dy − dbias / pixels − x̂ · dweight / pixels)
//   dx = mask ⊙ (own + pending)
struct BatchNormBackward {
  int pixels = 1, c = 1;
  const float* x = nullptr;            // [pixels, c], what went in
  const float* dy = nullptr;           // [pixels, c]
  const float* weight = nullptr;       // [c]
  const float* mean = nullptr;         // [c]
  const float* inverse_std = nullptr;  // [c]
  bool accumulate = false;             // add to what dweight and dbias hold
  float* dweight = nullptr;            // [c]
  float* dbias = nullptr;              // [c]
  SignalEpilogue epilogue{};
  float* dx = nullptr;         // [pixels, c], may be dy; null: not wanted
  float* workspace = nullptr;  // batch_norm_workspace(pixels, c) floats, 8-byte aligned
};
long long batch_norm_workspace(int pixels, int c);

// --- cross_entropy.cu ---

// For each row, with q = (1 − smoothing) · target + smoothing / columns (Szegedy et al. 2016):
//   loss = −Σ q · log softmax(logits);  dlogits = scale · (softmax(logits) · Σ q − q)
// The target is `classes[row]` (one-hot) or the row of `targets`, one of the two being null.
struct CrossEntropy {
  int rows = 1, columns = 1;
  const float* logits = nullptr;          // [rows, columns]
  const std::int32_t* classes = nullptr;  // [rows], each 0 … columns − 1 (another gives NaN), or null
  const float* targets = nullptr;         // [rows, columns], or null
  float smoothing = 0, scale = 1;
  float* loss = nullptr;     // [rows]
  float* dlogits = nullptr;  // [rows, columns] or null
};

// --- dropout.cu ---

// y = kept ? x / (1 − p) : 0, kept with probability 1 − p: a function of (seed, offset, i) alone (Philox 4x32-10,
// Salmon et al. 2011), so that the backward pass is the same launch on dy and no mask is stored.
struct Dropout {
  long long count = 0;
  float p = 0.5f;  // 0 <= p < 1
  std::uint64_t seed = 0, offset = 0;
  const float* x = nullptr;
  float* y = nullptr;  // may be x
};

// --- optimizer.cu: as torch.optim.SGD and torch.optim.AdamW ---

// g = scale · dw + weight_decay · w;  v = momentum · v + g;  w −= rate · (nesterov ? g + momentum · v : v)
struct SgdStep {
  long long count = 0;
  float rate = 0, momentum = 0, weight_decay = 0;
  bool nesterov = false;
  const float* scale = nullptr;  // one float on the device, or null for 1
  const float* dw = nullptr;
  float* velocity = nullptr;  // starts as zeros; null: momentum must be 0
  float* w = nullptr;
};
// Loshchilov & Hutter 2019; step counts from 1.
struct AdamWStep {
  long long count = 0;
  long long step = 1;
  float rate = 0, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, weight_decay = 0;
  const float* scale = nullptr;  // one float on the device, or null for 1
  const float* dw = nullptr;
  float* first = nullptr;  // moments, start as zeros
  float* second = nullptr;
  float* w = nullptr;
};
// partial[i] = Σ x² over slice i, in double; sum_squares_partials(count) slices.
struct SumSquares {
  long long count = 0;
  const float* x = nullptr;
  double* partial = nullptr;
};
int sum_squares_partials(long long count);
// norm = √(Σ partial);  scale = min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; max_norm 0:
// scale 1. A norm that is not finite gives scale NaN.
struct ClipScale {
  int partials = 0;
  const double* partial = nullptr;
  float max_norm = 0;
  float* norm = nullptr;  // one float each
  float* scale = nullptr;
};

}  // namespace retrace::kernels
