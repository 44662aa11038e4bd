// The channels of one layer as tiles of one picture.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "attribution/render/render.h"

namespace retrace::render {

struct MosaicOptions {
  int strongest = 0;     // draw only this many channels, those of largest mean |a|, strongest first; 0: all
  int columns = 0;       // tiles in a row; 0: about as many as makes the picture square
  int least_tile = 48;   // smaller tiles are enlarged by a whole factor
  int most_side = 8192;  // tiles shrink (mean over squares) until the picture fits
  bool scale_each = false;  // each tile has its own clip value: shows patterns, hides which channel is strong
  float percentile = 99.5f;  // as in MapOptions
  std::string title = {};    // e.g. "layer4.1  7 x 7 x 512"; a line with the scale follows it
};

struct Mosaic {
  Picture picture;
  std::vector<int> channels;  // as drawn: row by row
  std::vector<int> zero;      // channels (of those drawn) that are 0 everywhere; their label says "zero"
  Scale scale = Scale::sequential;  // diverging if any value is negative
  float clip = 0;  // the end of the colours; with scale_each the largest of them; 0 if all is zero
  bool all_zero = false;
};

// `activations` is [height, width, channels] of one picture. Throws Error for a wrong size, values that are
// not finite, or tiles that do not fit into most_side even at one pixel; UsageError for bad options.
Mosaic render_mosaic(std::span<const float> activations, int height, int width, int channels,
                     const MosaicOptions& options = {});

}  // namespace retrace::render
