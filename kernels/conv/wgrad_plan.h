// How the weight gradients cut up their work: tiles of dw, and slices of the sum over pixels. Functions of the shape
// alone, so that the order of every sum is one too.
#pragma once
#include "kernels/conv/conv.h"

namespace retrace::kernels {

// A tile is tile_rows output channels × tile_columns of the group's R · S · C weights of each.
struct WgradPlan {
  int tile_rows = 0;  // 16, 32, 64 or 128
  // 32, 64, 128 or (with fewer than 128 rows) 144 where a group's C is a multiple of 4; else 32 or 160
  int tile_columns = 0;
  int row_tiles = 0, column_tiles = 0;
  int slices = 0, slice_pixels = 0;  // the last slice may have fewer

  long long blocks(const Conv2dShape& shape) const {
    return 1LL * row_tiles * column_tiles * shape.groups * slices;
  }
};

WgradPlan plan_wgrad(const Conv2dShape& shape);

// The depthwise one.
struct DepthwisePlan {
  int slices = 0, slice_pixels = 0;  // the last slice may have fewer
};
DepthwisePlan plan_depthwise_wgrad(const Conv2dShape& shape);

}  // namespace retrace::kernels
