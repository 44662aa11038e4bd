// Convolution: the problem, and what its launchers take. Activations NHWC, weights KRSC with C / groups
// channels, output NPQK, float32.
#pragma once
#include <cstdint>
#include <string>

#include "kernels/signal.h"
#include "kernels/stream.h"

namespace retrace::kernels {

struct Conv2dShape {
  int n = 1, h = 1, w = 1, c = 1;  // input
  int k = 1, r = 1, s = 1;         // output channels, filter height and width
  int stride_h = 1, stride_w = 1;
  int pad_h = 0, pad_w = 0;
  int dilation_h = 1, dilation_w = 1;
  int groups = 1;

  constexpr int p() const { return (h + 2 * pad_h - dilation_h * (r - 1) - 1) / stride_h + 1; }
  constexpr int q() const { return (w + 2 * pad_w - dilation_w * (s - 1) - 1) / stride_w + 1; }
  long long input_size() const { return 1LL * n * h * w * c; }
  long long weight_size() const { return 1LL * k * r * s * (c / groups); }
  long long output_size() const { return 1LL * n * p() * q() * k; }
  long long macs() const { return output_size() * r * s * (c / groups); }
  // "n2 h8 w8 c16, k32 r3 s3, stride 1x1, pad 1x1, dilation 1x1, groups 1"
  std::string describe() const;
  // Throws Error naming the field that makes no sense; an operand of 2^31 elements or more is refused too.
  void validate() const;
};

enum class ConvVariant : std::uint8_t { automatic, direct, tiled, depthwise };

// "auto", "direct", "tiled", "depthwise"; throws UsageError listing what there is.
ConvVariant parse_conv_variant(const std::string& name);
const char* conv_variant_name(ConvVariant variant);
// What `automatic` stands for. Never depends on the batch, so that a batch's results equal the singles' bitwise.
ConvVariant select_fprop(const Conv2dShape& shape);
ConvVariant select_dgrad(const Conv2dShape& shape);
ConvVariant select_wgrad(const Conv2dShape& shape);
// One filter of one channel for each channel: what `depthwise` is for. All other shapes it leaves to direct or tiled:
bool is_depthwise(const Conv2dShape& shape);
ConvVariant select_dense_fprop(const Conv2dShape& shape);
ConvVariant select_dense_dgrad(const Conv2dShape& shape);
ConvVariant select_dense_wgrad(const Conv2dShape& shape);
// The layers of blocks that tiled launches for dgrad, one per group and stride parity. A grid has at most max_layers; more
// are given as max_layers + 1.
inline constexpr int max_layers = 65535;
int dgrad_layers(const Conv2dShape& shape);

// y = relu(alpha · conv(part(x), w) + bias + residual), each of the last three if asked for.
struct Conv2dFprop {
  Conv2dShape shape;
  ConvVariant variant = ConvVariant::automatic;
  const float* x = nullptr;  // [n, h, w, c]
  Part part = Part::all;     // of x
  const float* w = nullptr;  // [k, r, s, c / groups]
  float alpha = 1;
  const float* bias = nullptr;      // [k] or null
  const float* residual = nullptr;  // [n, p, q, k] or null; may be y
  bool relu = false;
  float* y = nullptr;                 // [n, p, q, k]
  std::uint8_t* relu_mask = nullptr;  // [n, p, q, mask_pitch(k)] or null; only with relu
};

// dx = mask ⊙ (alpha · part(multiply) ⊙ convᵀ(load(dy), w) + pending); a null `multiply` counts as 1.
struct Conv2dDgrad {
  Conv2dShape shape;
  ConvVariant variant = ConvVariant::automatic;
  SignalLoad dy{};           // [n, p, q, k]
  const float* w = nullptr;  // [k, r, s, c / groups]
  float alpha = 1;
  const float* multiply = nullptr;  // [n, h, w, c] or null
  Part part = Part::all;            // of multiply
  SignalEpilogue epilogue{};        // [n, h, w, c]
  float* dx = nullptr;              // [n, h, w, c]; not dy.signal
};

// dw[k, r, s, c] = Σ_{n, p, q} dy[n, p, q, k] · x[n, p · stride − pad + r · dilation, …, c], added to what dw
// holds if `accumulate`. The sum over pixels is split into slices of fixed size, each summed in order into the
// workspace, and the slices are added in order: the same bits run after run.
struct Conv2dWgrad {
  Conv2dShape shape;
  ConvVariant variant = ConvVariant::automatic;
  const float* x = nullptr;   // [n, h, w, c]
  const float* dy = nullptr;  // [n, p, q, k]
  bool accumulate = false;
  float* dw = nullptr;         // [k, r, s, c / groups]
  float* workspace = nullptr;  // conv2d_wgrad_workspace(shape, variant) floats; null where that is 0
};
// Floats of scratch memory conv2d_wgrad needs.
long long conv2d_wgrad_workspace(const Conv2dShape& shape, ConvVariant variant = ConvVariant::automatic);

}  // namespace retrace::kernels
