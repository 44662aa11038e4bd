// The convolution launchers of the kernel table: validate, choose a variant, launch it.
#include "kernels/conv/variants.h"
#include "kernels/ops/checks.h"

namespace retrace::kernels::RETRACE_TARGET {

namespace {

void require(bool holds, const char* launcher, const Conv2dShape& shape, const char* what) {
  if (!holds) throw Error(std::string(launcher) + ", " + shape.describe() + ": " + what);
}

[[noreturn]] void no_such_variant(const char* launcher, ConvVariant variant) {
  throw Error(std::string(launcher) + ": no variant number " + std::to_string(int(variant)));
}

}  // namespace

void conv2d_fprop(const Conv2dFprop& a, Stream stream) {
  a.shape.validate();
  require(a.x && a.w && a.y, "conv2d_fprop", a.shape, "x, w and y are required");
  require(!a.relu_mask || a.relu, "conv2d_fprop", a.shape, "a ReLU mask needs a ReLU");
  require(a.x != a.y, "conv2d_fprop", a.shape, "y must not be x");
  const ConvVariant variant = a.variant == ConvVariant::automatic ? select_fprop(a.shape) : a.variant;
  switch (variant) {
    case ConvVariant::direct:
      return conv2d_fprop_direct(a, stream);
    case ConvVariant::tiled:
      return conv2d_fprop_tiled(a, stream);
    case ConvVariant::depthwise:
      return conv2d_fprop_depthwise(a, stream);
    default:
      no_such_variant("conv2d_fprop", variant);
  }
}

void conv2d_dgrad(const Conv2dDgrad& a, Stream stream) {
  a.shape.validate();
  require(a.dy.signal && a.w && a.dx, "conv2d_dgrad", a.shape, "dy, w and dx are required");
  require(a.dx != a.dy.signal && a.dx != a.dy.factor && a.dx != a.dy.denominator, "conv2d_dgrad", a.shape,
          "dx must not be an operand of dy");
  require(a.dy.epsilon >= 0, "conv2d_dgrad", a.shape, "epsilon must not be negative");
  const ConvVariant variant = a.variant == ConvVariant::automatic ? select_dgrad(a.shape) : a.variant;
  switch (variant) {
    case ConvVariant::direct:
      return conv2d_dgrad_direct(a, stream);
    case ConvVariant::tiled:
      return conv2d_dgrad_tiled(a, stream);
    case ConvVariant::depthwise:
      return conv2d_dgrad_depthwise(a, stream);
    default:
      no_such_variant("conv2d_dgrad", variant);
  }
}

void conv2d_wgrad(const Conv2dWgrad& a, Stream stream) {
  a.shape.validate();
  const ConvVariant variant = a.variant == ConvVariant::automatic ? select_wgrad(a.shape) : a.variant;
  const long long workspace = conv2d_wgrad_workspace(a.shape, variant);
  require(a.x && a.dy && a.dw, "conv2d_wgrad", a.shape, "x, dy and dw are required");
  require(a.workspace || workspace == 0, "conv2d_wgrad", a.shape, "a workspace is required");
  const Operand x{"x", a.x, 4 * a.shape.input_size()}, dy{"dy", a.dy, 4 * a.shape.output_size()};
  const Operand dw{"dw", a.dw, 4 * a.shape.weight_size()}, scratch{"workspace", a.workspace, 4 * workspace};
  for (const Operand& other : {x, dy, scratch}) check_apart("conv2d_wgrad", dw, other);
  for (const Operand& other : {x, dy}) check_apart("conv2d_wgrad", scratch, other);
  switch (variant) {
    case ConvVariant::direct:
      return conv2d_wgrad_direct(a, stream);
    case ConvVariant::tiled:
      return conv2d_wgrad_tiled(a, stream);
    case ConvVariant::depthwise:
      return conv2d_wgrad_depthwise(a, stream);
    default:
      no_such_variant("conv2d_wgrad", variant);
  }
}

}  // namespace retrace::kernels::RETRACE_TARGET
