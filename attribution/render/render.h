// One map, one picture: what is drawn, and what the reader must know about it.
#pragma once
#include <span>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace::render {

enum class Layout { hwc, chw };

// Sums a map over its channels: [H, W, C] (hwc) or [C, H, W] (chw) → [H, W]. The sum is made in double.
// Throws Error if `map` does not hold height · width · channels values.
std::vector<float> channel_sum(std::span<const float> map, int height, int width, int channels,
                               Layout layout);

// Throws Error that counts the values that are not finite and places the first, unless all are.
// `map` is [height, width, channels].
void check_finite(std::span<const float> map, int height, int width, int channels = 1);

// The value below which `percentile` (0 … 100) per cent of the values lie, interpolated between neighbours as
// NumPy's default does. Throws Error if there are none. Reorders `values`.
float percentile_of(std::span<float> values, float percentile);

struct MapOptions {
  float percentile = 99.5f;  // 0 < percentile ≤ 100: values beyond it get the end colour
  int least_side =
      224;  // smaller pictures are enlarged by the least whole factor that gives this many pixels
};

enum class Scale { diverging, sequential };

struct RenderedMap {
  Picture picture;
  Scale scale = Scale::diverging;
  // The end of the colours: ± clip is full red and blue, or 0 … clip runs from dark to light. 0 if all_zero.
  float clip = 0;
  // The percentile that clip stands for: the one asked for, or 100 (the largest value) where that was 0
  // because hardly any value differs from 0.
  float percentile = 0;
  int factor = 1;  // each value covers factor x factor pixels
  // Nothing to show: every value is 0 (for a CAM: none is > 0). The picture says so in words.
  bool all_zero = false;
};

// The factor by which a picture must be enlarged so that its shorter side has `least_side` pixels (1 if it
// has), but not beyond 4096 pixels for the longer one.
int enlargement(int width, int height, int least_side);

// A signed map [height, width] (already summed over channels), blue for negative, white for 0, red for
// positive, symmetric about 0, values drawn as they are (nearest neighbour). Clips |value|. Throws Error for
// a wrong size, bad options or values that are not finite.
RenderedMap render_signed(std::span<const float> map, int height, int width, const MapOptions& options = {});

// A map of values ≥ 0 [height, width] over the dimmed grey picture it explains, which has the same size: the
// stronger the value, the more of its colour covers the picture. Negative values are drawn as 0. Where the
// picture is enlarged, the map is interpolated linearly and the picture is not.
RenderedMap render_cam(std::span<const float> map, int height, int width, const Picture& background,
                       const MapOptions& options = {});

}  // namespace retrace::render
