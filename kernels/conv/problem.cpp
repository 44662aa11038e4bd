#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "kernels/conv/conv.h"
#include "kernels/conv/wgrad_plan.h"
#include "kernels/error.h"

namespace retrace::kernels {

std::string Conv2dShape::describe() const {
  return fmt::format("n{} h{} w{} c{}, k{} r{} s{}, stride {}x{}, pad {}x{}, dilation {}x{}, groups {}", n, h,
                     w, c, k, r, s, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups);
}

void Conv2dShape::validate() const {
  const auto require = [&](bool holds, const char* what) {
    if (!holds) throw Error("convolution " + describe() + ": " + what);
  };
  require(n >= 1 && h >= 1 && w >= 1 && c >= 1 && k >= 1 && r >= 1 && s >= 1,
          "every extent must be at least 1");
  require(stride_h >= 1 && stride_w >= 1, "the stride must be at least 1");
  require(dilation_h >= 1 && dilation_w >= 1, "the dilation must be at least 1");
  require(pad_h >= 0 && pad_w >= 0, "the padding must not be negative");
  require(groups >= 1 && c % groups == 0 && k % groups == 0, "groups must divide both channel counts");
  constexpr long long most = (1LL << 31) - 1;
  require(1LL * dilation_h * (r - 1) + 1 <= h + 2LL * pad_h &&
              1LL * dilation_w * (s - 1) + 1 <= w + 2LL * pad_w && h + 2LL * pad_h <= most &&
              w + 2LL * pad_w <= most,
          "the filter does not fit into the padded input");
  const auto product = [&](long long a, long long b) {
    require(a <= most / b, "an operand of 2^31 elements or more is not supported");
    return a * b;
  };
  product(product(product(n, h), w), c);
  product(product(product(n, p()), q()), k);
  product(product(product(k, r), s), c / groups);
}

ConvVariant parse_conv_variant(const std::string& name) {
  if (name == "auto") return ConvVariant::automatic;
  if (name == "direct") return ConvVariant::direct;
  if (name == "tiled") return ConvVariant::tiled;
  if (name == "depthwise") return ConvVariant::depthwise;
  throw UsageError("convolution variant '" + name + "': expected auto, direct, tiled or depthwise");
}

const char* conv_variant_name(ConvVariant variant) {
  switch (variant) {
    case ConvVariant::automatic:
      return "auto";
    case ConvVariant::direct:
      return "direct";
    case ConvVariant::tiled:
      return "tiled";
    case ConvVariant::depthwise:
      return "depthwise";
  }
  return "?";
}

bool is_depthwise(const Conv2dShape& shape) {
  return shape.groups == shape.c && shape.groups == shape.k;
}

ConvVariant select_fprop(const Conv2dShape& shape) {
  return shape.groups > 1 && is_depthwise(shape) ? ConvVariant::depthwise : select_dense_fprop(shape);
}
ConvVariant select_dgrad(const Conv2dShape& shape) {
  return shape.groups > 1 && is_depthwise(shape) ? ConvVariant::depthwise : select_dense_dgrad(shape);
}
ConvVariant select_wgrad(const Conv2dShape& shape) {
  return shape.groups > 1 && is_depthwise(shape) ? ConvVariant::depthwise : select_dense_wgrad(shape);
}

int dgrad_layers(const Conv2dShape& shape) {
  long long layers = shape.groups;
  for (const int stride : {shape.stride_h, shape.stride_w})
    layers = std::min(layers * stride, max_layers + 1LL);
  return int(layers);
}

// A tile is at least 16 channels wide and reduces over 8 at a time, so groups that thin are better off direct.
ConvVariant select_dense_fprop(const Conv2dShape& shape) {
  const int reduction = shape.c / shape.groups * shape.s, columns = shape.k / shape.groups;
  return columns < 4 || reduction < 4 || shape.groups > max_layers ? ConvVariant::direct : ConvVariant::tiled;
}
ConvVariant select_dense_dgrad(const Conv2dShape& shape) {
  const int reduction = shape.k / shape.groups, columns = shape.c / shape.groups;
  const bool too_many = dgrad_layers(shape) > max_layers;
  return columns < 2 || reduction < 4 || too_many ? ConvVariant::direct : ConvVariant::tiled;
}
// Where nearly all of the smallest tile would be waste (a few channels a group), direct is no slower.
ConvVariant select_dense_wgrad(const Conv2dShape& shape) {
  const long long sums = 1LL * (shape.k / shape.groups) * (shape.c / shape.groups) * shape.r * shape.s;
  return shape.groups > 1 && sums < 64 ? ConvVariant::direct : ConvVariant::tiled;
}

// Wider tiles load less, narrower ones may fit better; 144 = 9 · 16 are the taps of a 3 x 3 filter over 16 channels,
// 160 suits the 147 of a ResNet's stem. Slices: enough blocks for every thread a large GPU holds at a time, but no
// slice so short that writing and adding its sums takes more than a few percent of making them.
WgradPlan plan_wgrad(const Conv2dShape& shape) {
  constexpr long long threads_wanted = 132 * 512, least_pixels = 128, pixel_step = 16;
  const int rows = shape.k / shape.groups, channels = shape.c / shape.groups;
  const long long columns = 1LL * shape.r * shape.s * channels;
  const auto tiles = [](long long extent, long long tile) { return (extent + tile - 1) / tile; };
  WgradPlan plan;
  plan.tile_rows = rows <= 16 ? 16 : rows <= 32 ? 32 : tiles(rows, 64) % 2 ? 64 : 128;
  const auto cost = [&](int tile) { return tiles(columns, tile) * (tile + 16); };
  plan.tile_columns = 32;
  const auto consider = [&](std::initializer_list<int> widths) {
    for (const int width : widths) {
      if (cost(width) <= cost(plan.tile_columns)) plan.tile_columns = width;
    }
  };
  if (channels % 4 == 0) {
    consider({64, 128});
    if (plan.tile_rows < 128) consider({144});  // with 128 rows only one block of it fits a multiprocessor
  } else {
    consider({160});
  }
  plan.row_tiles = int(tiles(rows, plan.tile_rows));
  plan.column_tiles = int(tiles(columns, plan.tile_columns));
  const long long pixels = shape.output_size() / shape.k;
  const long long threads =
      plan.tile_rows * plan.tile_columns / 64LL * plan.row_tiles * plan.column_tiles * shape.groups;
  const long long wanted = std::clamp(tiles(threads_wanted, threads), 1LL, tiles(pixels, least_pixels));
  plan.slice_pixels = int(tiles(tiles(pixels, wanted), pixel_step) * pixel_step);
  plan.slices = int(tiles(pixels, plan.slice_pixels));
  return plan;
}

// Slices as above; the sums of one are as many as a filter has taps, so that 64 pixels make them worth writing.
DepthwisePlan plan_depthwise_wgrad(const Conv2dShape& shape) {
  constexpr long long threads_wanted = 132 * 512, least_pixels = 64;
  const long long taps = shape.r == 3 && shape.s == 3 ? 1 : 1LL * shape.r * shape.s;
  const long long threads = (shape.c + 7) / 8 * taps, pixels = shape.output_size() / shape.k;
  const auto pieces = [](long long extent, long long piece) { return (extent + piece - 1) / piece; };
  const long long wanted =
      std::clamp(pieces(threads_wanted, threads), 1LL, std::max(1LL, pixels / least_pixels));
  DepthwisePlan plan;
  plan.slice_pixels = int(pieces(pixels, wanted));
  plan.slices = int(pieces(pixels, plan.slice_pixels));
  return plan;
}

long long conv2d_wgrad_workspace(const Conv2dShape& shape, ConvVariant variant) {
  shape.validate();
  if (variant == ConvVariant::automatic) variant = select_wgrad(shape);
  if (variant == ConvVariant::depthwise && !is_depthwise(shape)) variant = select_dense_wgrad(shape);
  if (variant == ConvVariant::direct) return 0;
  const int slices =
      variant == ConvVariant::depthwise ? plan_depthwise_wgrad(shape).slices : plan_wgrad(shape).slices;
  return slices == 1 ? 0 : slices * shape.weight_size();
}

}  // namespace retrace::kernels
