// What the launchers of every other op take. float32, NHWC, dense. A "pixel" is one (n, h, w) position.
#pragma once
#include <cstdint>
#include <limits>

#include "kernels/signal.h"
#include "kernels/stream.h"

namespace retrace::kernels {

// --- linear.cu ---

// y = relu(alpha · part(x) wᵀ + bias + residual), each of the last three if asked for.
struct LinearFprop {
  int n = 1, c = 1, k = 1;
  const float* x = nullptr;  // [n, c]
  Part part = Part::all;
  const float* w = nullptr;  // [k, c]
  float alpha = 1;
  const float* bias = nullptr;      // [k] or null
  const float* residual = nullptr;  // [n, k] or null; may be y
  bool relu = false;
  float* y = nullptr;                 // [n, k]
  std::uint8_t* relu_mask = nullptr;  // [n, mask_pitch(k)] or null; only with relu
};
// dx = mask ⊙ (alpha · part(multiply) ⊙ (load(dy) w) + pending); a null `multiply` counts as 1.
struct LinearDgrad {
  int n = 1, c = 1, k = 1;
  SignalLoad dy{};           // [n, k]
  const float* w = nullptr;  // [k, c]
  float alpha = 1;
  const float* multiply = nullptr;  // [n, c] or null
  Part part = Part::all;
  SignalEpilogue epilogue{};  // [n, c]
  float* dx = nullptr;        // [n, c]
};

// --- pool.cu ---

struct PoolShape {
  int n = 1, h = 1, w = 1, c = 1;
  int r = 1, s = 1;
  int stride_h = 1, stride_w = 1;
  int pad_h = 0, pad_w = 0;
  bool ceil_mode =
      false;  // PyTorch's: a last window may start inside the input or its left padding, not beyond
  constexpr int p() const { return outputs(h, r, stride_h, pad_h); }
  constexpr int q() const { return outputs(w, s, stride_w, pad_w); }
  void validate() const;  // throws Error; padding over half the window is refused, as in PyTorch

 private:
  constexpr int outputs(int size, int window, int stride, int pad) const {
    const int span = size + 2 * pad - window;
    int count = (ceil_mode ? span + stride - 1 : span) / stride + 1;
    if (ceil_mode && (count - 1) * stride >= size + pad) --count;
    return count;
  }
};
// y = the largest of each window, argmax = h · W + w of the first largest in row order (PyTorch's tie rule).
// NaN wins over everything; of several NaNs the last, as in PyTorch.
struct MaxPoolFprop {
  PoolShape shape;
  const float* x = nullptr;        // [n, h, w, c]
  float* y = nullptr;              // [n, p, q, c]
  std::int32_t* argmax = nullptr;  // [n, p, q, c] or null
};
// Every window's signal goes to its winner. One thread gathers for one input, so no atomics and a fixed order.
struct MaxPoolBackward {
  PoolShape shape;
  const float* dy = nullptr;             // [n, p, q, c]
  const std::int32_t* argmax = nullptr;  // [n, p, q, c]
  SignalEpilogue epilogue{};
  float* dx = nullptr;  // [n, h, w, c]
};
// Mean of each window; padding counts towards the divisor if count_include_pad (PyTorch's default), else only
// positions inside the input do.
struct AvgPoolFprop {
  PoolShape shape;
  bool count_include_pad = true;
  const float* x = nullptr;
  float* y = nullptr;
};
struct AvgPoolBackward {
  PoolShape shape;
  bool count_include_pad = true;
  const float* dy = nullptr;
  SignalEpilogue epilogue{};
  float* dx = nullptr;
};
struct GlobalAvgPoolFprop {
  int n = 1, h = 1, w = 1, c = 1;
  const float* x = nullptr;  // [n, h, w, c]
  float* y = nullptr;        // [n, c]
};
struct GlobalAvgPoolBackward {
  int n = 1, h = 1, w = 1, c = 1;
  const float* dy = nullptr;  // [n, c]
  SignalEpilogue epilogue{};
  float* dx = nullptr;  // [n, h, w, c]
};

// --- adaptive_pool.cu ---

// y[i, j] = the mean of rows ⌊i h / p⌋ … ⌈(i + 1) h / p⌉ − 1, columns likewise: PyTorch's AdaptiveAvgPool2d. Windows
// may overlap, and p may exceed h.
struct AdaptiveAvgPoolFprop {
  int n = 1, h = 1, w = 1, c = 1, p = 1, q = 1;
  const float* x = nullptr;  // [n, h, w, c]
  float* y = nullptr;        // [n, p, q, c]
};
struct AdaptiveAvgPoolBackward {
  int n = 1, h = 1, w = 1, c = 1, p = 1, q = 1;
  const float* dy = nullptr;  // [n, p, q, c]
  SignalEpilogue epilogue{};
  float* dx = nullptr;  // [n, h, w, c]
};

// --- activation.cu ---

// y = min(max(x, 0), ceiling); a mask's bit is 0 < x < ceiling. 6 is ReLU6's ceiling; infinity means none.
struct ReluFprop {
  int pixels = 1, c = 1;
  const float* x = nullptr;           // [pixels, c]
  float* y = nullptr;                 // may be x
  std::uint8_t* relu_mask = nullptr;  // [pixels, mask_pitch(c)] or null
  float ceiling = std::numeric_limits<float>::infinity();
};
// dx = mask ⊙ (dy + pending)
struct ReluBackward {
  int pixels = 1, c = 1;
  const float* dy = nullptr;
  SignalEpilogue epilogue{};  // its mask is required
  float* dx = nullptr;        // may be dy
};
// y = relu(a + b) or a + b. Its backward is the signal itself, handed to both.
struct AddFprop {
  int pixels = 1, c = 1;
  const float* a = nullptr;
  const float* b = nullptr;
  bool relu = false;
  float* y = nullptr;                 // may be a or b
  std::uint8_t* relu_mask = nullptr;  // or null; only with relu
};

// --- concat.cu: one launch for each of the arrays that stand side by side ---

// y[pixel, offset + i] = x[pixel, i] for i < c; the rest of y is left alone.
struct ConcatFprop {
  int pixels = 1, c = 1, total = 1, offset = 0;
  const float* x = nullptr;  // [pixels, c]
  float* y = nullptr;        // [pixels, total]
};
// dx[pixel, i] = mask ⊙ (dy[pixel, offset + i] + pending)
struct ConcatBackward {
  int pixels = 1, c = 1, total = 1, offset = 0;
  const float* dy = nullptr;  // [pixels, total]
  SignalEpilogue epilogue{};  // [pixels, c]
  float* dx = nullptr;        // [pixels, c]
};

// --- shortcut.cu: He et al. 2016, option A: subsample and zero-pad channels ---

// y[n, p, q, pad + i] = x[n, p · stride, q · stride, i], 0 elsewhere; pad = (k − c) / 2, p = ⌈h / stride⌉.
struct ShortcutFprop {
  int n = 1, h = 1, w = 1, c = 1, k = 1, stride = 2;
  const float* x = nullptr;  // [n, h, w, c]
  float* y = nullptr;        // [n, p, q, k]
};
struct ShortcutBackward {
  int n = 1, h = 1, w = 1, c = 1, k = 1, stride = 2;
  const float* dy = nullptr;  // [n, p, q, k]
  SignalEpilogue epilogue{};
  float* dx = nullptr;  // [n, h, w, c]
};

// --- softmax.cu ---

// y = softmax(x) or log softmax(x) along each row; the row's maximum is subtracted first.
struct SoftmaxFprop {
  int rows = 1, columns = 1;
  bool log = false;
  const float* x = nullptr;
  float* y = nullptr;  // may be x
};
struct SoftmaxBackward {
  int rows = 1, columns = 1;
  bool log = false;
  const float* y = nullptr;  // what the forward pass gave
  const float* dy = nullptr;
  float* dx = nullptr;  // may be dy
};

// --- normalize.cu ---

// y = (pixel / 255 − mean) / std per channel, computed as one multiply-add with host-made scale and shift.
struct NormalizeU8 {
  int n = 1, h = 1, w = 1, c = 3;        // c <= 4
  const std::uint8_t* pixels = nullptr;  // [n, h, w, c]
  float mean[4] = {}, std[4] = {1, 1, 1, 1};
  float* y = nullptr;  // [n, h, w, c]
};

// --- cam.cu: Selvaraju et al. 2017 ---

// weights[n, c] = mean over h, w of gradient
struct GradCamWeights {
  int n = 1, h = 1, w = 1, c = 1;
  const float* gradient = nullptr;  // [n, h, w, c]
  float* weights = nullptr;         // [n, c]
};
// cam[n, h, w] = relu(Σ_c weights · activations), the ReLU if asked for
struct CamCombine {
  int n = 1, h = 1, w = 1, c = 1;
  const float* weights = nullptr;      // [n, c]
  const float* activations = nullptr;  // [n, h, w, c]
  bool relu = true;
  float* cam = nullptr;
};
// Bilinear, half-pixel centres, edges clamped (PyTorch's interpolate with align_corners=False).
struct UpsampleBilinear {
  int n = 1, h = 1, w = 1, out_h = 1, out_w = 1;
  const float* x = nullptr;  // [n, h, w]
  float* y = nullptr;        // [n, out_h, out_w]
};

// --- reduce.cu ---

// out[i] = Σ a[i, :] · b[i, :] in double, always in the same order; a null b counts as 1.
struct ReduceDot {
  int n = 1;
  long long count = 1;  // per image
  const float* a = nullptr;
  const float* b = nullptr;
  double* out = nullptr;  // [n]
};

// --- elementwise.cu ---

struct Fill {
  long long count = 0;
  float value = 0;
  float* y = nullptr;
};
// out = a · x + b · y; a null y counts as 0
struct Combine {
  long long count = 0;
  float a = 1, b = 1;
  const float* x = nullptr;
  const float* y = nullptr;
  float* out = nullptr;  // may be x or y
};
// out = x · y
struct Multiply {
  long long count = 0;
  const float* x = nullptr;
  const float* y = nullptr;
  float* out = nullptr;  // may be x or y
};
// y = 0, but at each row's target 1 (values null) or values[row, target]. A target out of range leaves its row 0.
struct SeedTargets {
  int rows = 1, columns = 1;
  const std::int32_t* targets = nullptr;  // [rows]
  const float* values = nullptr;          // [rows, columns] or null
  float* y = nullptr;                     // [rows, columns]
};

}  // namespace retrace::kernels
