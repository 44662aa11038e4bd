// The shapes every variant must get right. Written n h w c, k r s, stride, pad, dilation, groups.
//
// `tiled` chooses among eight tiles by rows (N·P·Q, or for dgrad the pixels of one parity) and columns (K or
// C of a group). Between them the cases hit, in fprop: merged ≤ 16, ≤ 32 and > 32 columns; unmerged ≤ 16, ≤
// 32, rows ≤ 64, ≤ 64 and > 64 columns; in dgrad the five unmerged ones.
#include "tests/kernels/conv/harness.h"

namespace retrace::conv_test {

const std::vector<ShapeCase>& shape_table() {
  static const std::vector<ShapeCase> table = {
      {"the smallest there is", {1, 1, 1, 1, 1, 1, 1}},
      // fewer than 8 channels: filter rows are merged
      {"merged, 16 columns", {1, 5, 7, 3, 5, 3, 3, 1, 1, 1, 1}},
      {"merged, 32 columns, stride 2", {2, 9, 8, 3, 20, 3, 3, 2, 2, 1, 1}},
      {"a ResNet's stem", {1, 23, 19, 3, 64, 7, 7, 2, 2, 3, 3}},
      {"merged, three column tiles, grey picture", {1, 11, 13, 1, 130, 5, 3, 1, 2, 2, 1}},
      {"merged, uneven strides, batch", {3, 7, 9, 5, 33, 3, 3, 3, 2, 0, 1}},
      {"merged, dilated in h only", {2, 6, 9, 5, 8, 3, 3, 1, 1, 3, 2, 2, 1}},
      {"few channels, dilated in w: not merged", {1, 9, 9, 3, 16, 3, 3, 1, 1, 2, 2, 2, 2}},
      {"few channels, one tap: not merged", {2, 6, 6, 5, 16, 1, 1}},
      {"merged, wider filter than picture", {2, 5, 2, 3, 8, 3, 5, 1, 1, 1, 2}},
      // every tile, tails in rows, columns and reduction
      {"16 columns", {1, 7, 7, 8, 16, 3, 3, 1, 1, 1, 1}},
      {"16 columns, more than one row tile", {1, 13, 12, 16, 8, 3, 3, 1, 1, 1, 1}},
      {"32 columns, stride in h", {3, 5, 7, 16, 20, 3, 3, 2, 1, 1, 1}},
      {"64 columns, two row tiles, dgrad 32", {2, 9, 9, 20, 33, 3, 3, 1, 1, 1, 1}},
      {"64 rows exactly", {1, 8, 8, 33, 64, 1, 1}},
      {"65 rows", {1, 5, 13, 33, 64, 3, 3, 1, 1, 1, 1}},
      {"few rows, three column tiles", {1, 7, 7, 130, 130, 3, 3, 1, 1, 1, 1}},
      {"128 columns", {3, 7, 7, 64, 130, 3, 3, 1, 1, 1, 1}},
      {"128 columns in dgrad", {2, 17, 15, 130, 33, 1, 1}},
      {"everything a whole tile, 16 columns", {2, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1}},
      {"everything a whole tile, 64 columns", {2, 8, 8, 64, 64, 1, 1}},
      {"everything a whole tile, 128 columns", {2, 8, 8, 128, 128, 1, 1}},
      {"channels not a multiple of 4", {1, 6, 11, 33, 33, 3, 3, 1, 1, 1, 1}},
      // strides
      {"a ResNet's downsample", {2, 9, 9, 130, 64, 1, 1, 2, 2}},
      {"a ResNet's strided 3x3", {1, 14, 14, 64, 130, 3, 3, 2, 2, 1, 1}},
      {"stride 3 by 2, unused last rows", {2, 10, 7, 20, 33, 5, 3, 3, 2, 0, 3}},
      {"stride larger than the filter", {2, 10, 11, 16, 20, 2, 1, 3, 3}},
      {"stride larger than filter and picture", {3, 2, 2, 8, 8, 1, 1, 3, 3}},
      {"stride 1 by 3", {1, 8, 10, 5, 8, 1, 2, 1, 3, 0, 1}},
      // padding and filters beyond the picture
      {"padding 0 by 3", {1, 7, 4, 8, 16, 3, 7, 1, 1, 0, 3}},
      {"padding larger than the filter's reach", {1, 4, 5, 8, 5, 1, 1, 1, 1, 3, 2}},
      {"filter taller than the picture", {1, 2, 1, 8, 16, 5, 3, 1, 1, 3, 1}},
      {"7x7 over one pixel", {2, 1, 1, 16, 20, 7, 7, 1, 1, 3, 3}},
      {"filter as large as the picture", {2, 5, 3, 20, 33, 5, 3}},
      {"one row of pixels", {1, 1, 13, 16, 8, 1, 3, 1, 2, 0, 1}},
      {"one column of pixels", {1, 13, 1, 16, 8, 3, 1, 2, 1, 1, 0}},
      // dilation
      {"dilation 3", {1, 11, 10, 16, 8, 3, 3, 1, 1, 3, 3, 3, 3}},
      {"dilation 2 by 1", {2, 9, 8, 33, 20, 3, 3, 1, 1, 2, 1, 2, 1}},
      {"dilation equal to the stride: most parities meet no tap", {1, 12, 13, 8, 16, 3, 3, 2, 3, 2, 3, 2, 3}},
      {"dilation 2, stride 3", {1, 13, 12, 16, 33, 3, 3, 3, 3, 1, 2, 2, 2}},
      {"dilation 3, stride 2", {2, 12, 11, 8, 20, 3, 3, 2, 2, 3, 1, 3, 3}},
      // groups
      {"two groups", {2, 7, 6, 16, 20, 3, 3, 1, 1, 1, 1, 1, 1, 2}},
      {"two groups of 65 channels", {2, 6, 6, 130, 130, 3, 3, 1, 1, 1, 1, 1, 1, 2}},
      {"two groups, whole mask bytes, few rows", {1, 6, 5, 64, 80, 3, 3, 1, 1, 1, 1, 1, 1, 2}},
      {"two wide groups", {2, 7, 7, 16, 260, 1, 1, 1, 1, 0, 0, 1, 1, 2}},
      {"four groups, uneven stride", {1, 9, 7, 20, 8, 3, 3, 2, 1, 1, 1, 1, 1, 4}},
      {"four groups, dilated", {1, 8, 7, 16, 64, 3, 3, 1, 2, 2, 1, 2, 1, 4}},
      {"depthwise, one partial block of channels", {2, 8, 7, 33, 33, 3, 3, 1, 1, 1, 1, 1, 1, 33}},
      {"depthwise, two filters a channel, stride 2", {1, 9, 9, 16, 32, 3, 3, 2, 2, 1, 1, 1, 1, 16}},
      // depthwise's own kernels (channels by eights), and what falls to the one for any filter
      {"depthwise 3x3", {2, 7, 9, 24, 24, 3, 3, 1, 1, 1, 1, 1, 1, 24}},
      {"depthwise 3x3, more groups than a block", {1, 4, 5, 520, 520, 3, 3, 1, 1, 1, 1, 1, 1, 520}},
      {"depthwise 3x3, picture smaller than the filter", {2, 2, 1, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8}},
      {"depthwise 3x3, stride 2, odd", {3, 9, 7, 24, 24, 3, 3, 2, 2, 1, 1, 1, 1, 24}},
      {"depthwise 3x3, stride 2, even", {1, 8, 12, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16}},
      {"depthwise 3x3, stride 2, one pixel", {2, 1, 1, 8, 8, 3, 3, 2, 2, 1, 1, 1, 1, 8}},
      {"depthwise 3x3, a thread makes several rows", {1, 9000, 2, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8}},
      {"depthwise 3x3, stride 2, several rows", {2, 9001, 1, 8, 8, 3, 3, 2, 2, 1, 1, 1, 1, 8}},
      {"depthwise 3x3, one channel", {2, 6, 5, 1, 1, 3, 3, 1, 1, 1, 1}},
      {"depthwise 3x3, three channels, uneven stride", {1, 8, 9, 3, 3, 3, 3, 2, 1, 1, 1, 1, 1, 3}},
      {"depthwise 3x3, five channels, no padding", {3, 7, 6, 5, 5, 3, 3, 1, 1, 0, 0, 1, 1, 5}},
      {"depthwise 3x3, dilated", {2, 9, 8, 24, 24, 3, 3, 1, 1, 2, 2, 2, 2, 24}},
      {"depthwise 5x5, stride 2", {1, 11, 10, 16, 16, 5, 5, 2, 2, 2, 2, 1, 1, 16}},
      {"depthwise 3x3, stride 3, dilation 2", {1, 13, 12, 12, 12, 3, 3, 3, 3, 1, 2, 2, 2, 12}},
      {"depthwise, dilation equal to the stride", {1, 12, 13, 8, 8, 3, 3, 2, 3, 2, 3, 2, 3, 8}},
      {"depthwise, stride larger than the picture", {2, 3, 2, 8, 8, 2, 1, 5, 4, 1, 0, 1, 1, 8}},
      {"depthwise 1x1", {3, 5, 7, 24, 24, 1, 1, 1, 1, 0, 0, 1, 1, 24}},
      {"depthwise 1x1, a last pixel alone", {1, 13, 1, 136, 136, 1, 1, 1, 1, 0, 0, 1, 1, 136}},
      {"depthwise 1x1, channels not by eights", {2, 4, 5, 33, 33, 1, 1, 1, 1, 0, 0, 1, 1, 33}},
      {"depthwise 1x1, stride 2, padded", {2, 6, 5, 8, 8, 1, 1, 2, 2, 1, 0, 1, 1, 8}},
      {"depthwise, 5x3", {3, 6, 5, 8, 8, 5, 3, 1, 1, 2, 1, 1, 1, 8}},
  };
  return table;
}

const std::vector<ShapeCase>& wgrad_shape_table() {
  static const std::vector<ShapeCase> table = [] {
    std::vector<ShapeCase> all = shape_table();
    all.insert(
        all.end(),
        {
            // slices: the last one of a single pixel, a whole one, more than 32 of them, rows of pixels that end inside
            {"two slices, the second of one step", {1, 3, 43, 4, 16, 1, 1}},
            {"three whole slices", {3, 8, 16, 4, 16, 1, 1}},
            {"34 slices, a stem", {1, 65, 66, 3, 5, 3, 3, 1, 1, 1, 1}},
            {"17 slices of pictures of 3 x 2", {360, 3, 2, 4, 8, 2, 2, 1, 1, 1, 1}},
            {"40 slices of single pixels", {5120, 1, 1, 4, 4, 1, 1}},
            // the tiles that the table above leaves out
            {"16 x 128", {2, 6, 5, 128, 16, 1, 1}},
            {"16 x 64", {1, 5, 5, 28, 12, 1, 2}},
            {"16 x 160", {1, 9, 8, 3, 16, 7, 7, 2, 2, 3, 3}},
            {"32 x 144", {2, 6, 5, 16, 32, 3, 3, 1, 1, 1, 1}},
            {"32 x 128", {1, 6, 5, 124, 31, 1, 1}},
            {"32 x 64", {1, 6, 5, 60, 32, 1, 1}},
            {"32 x 32", {2, 7, 5, 16, 32, 1, 1, 2, 2}},
            {"32 x 160", {1, 9, 8, 3, 32, 7, 7, 2, 2, 3, 3}},
            {"64 x 128", {1, 6, 5, 128, 64, 1, 1}},
            {"64 x 64", {1, 6, 5, 64, 60, 1, 1}},
            {"64 x 32", {1, 6, 5, 32, 64, 1, 1}},
            {"64 x 32, grey picture", {1, 6, 5, 1, 64, 5, 5}},
            {"128 x 128, a tail of half a tile", {1, 6, 5, 16, 128, 3, 3, 1, 1, 1, 1}},
            {"128 x 128", {1, 6, 5, 120, 100, 1, 1}},
            {"128 x 64", {1, 6, 5, 64, 68, 1, 1}},
            {"128 x 32", {1, 6, 5, 24, 125, 1, 1}},
            {"128 x 160", {1, 9, 8, 3, 128, 7, 7, 2, 2, 3, 3}},
            {"128 x 32, coloured picture", {1, 9, 8, 3, 128, 3, 3, 2, 2, 1, 1}},
        });
    return all;
  }();
  return table;
}

}  // namespace retrace::conv_test
