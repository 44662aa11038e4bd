#include "attribution/render/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "attribution/render/colormap.h"
#include "attribution/render/text.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

void check_size(std::size_t held, int height, int width, int channels) {
  if (height <= 0 || width <= 0 || channels <= 0 || held != std::size_t(height) * width * channels)
    throw Error(
        fmt::format("a map of {} x {} x {} (height, width, channels) was announced, {} values were given",
                    height, width, channels, held));
}

void check_options(const MapOptions& options) {
  if (!(options.percentile > 0 && options.percentile <= 100))
    throw UsageError(fmt::format("percentile {}: expected more than 0 and at most 100", options.percentile));
  if (options.least_side < 1)
    throw UsageError(fmt::format("least side {}: expected 1 or more", options.least_side));
}

// Sets clip, percentile and all_zero from values ≥ 0.
void choose_clip(RenderedMap& out, std::vector<float> magnitudes, float percentile) {
  const float largest = *std::max_element(magnitudes.begin(), magnitudes.end());
  out.all_zero = largest == 0;
  out.percentile = percentile;
  out.clip = percentile_of(magnitudes, percentile);
  if (out.clip == 0 && largest > 0) out.clip = largest, out.percentile = 100;
}

// A note across the middle, on a band that sets it off from whatever is below.
void write_note(Picture& picture, std::string_view text) {
  const int scale = text_width(text, 2) + 8 <= picture.width ? 2 : 1;
  const int height = glyph_height * scale;
  const int y = (picture.height - height) / 2;
  fill_rectangle(picture, 0, y - 4, picture.width, height + 8, {0, 0, 0});
  draw_text(picture, std::max(0, (picture.width - text_width(text, scale)) / 2), y, text, {255, 255, 255},
            scale);
}

// Rec. 709 luma of the encoded values.
float grey(const std::uint8_t* p) {
  return 0.2126f * p[0] + 0.7152f * p[1] + 0.0722f * p[2];
}

// Linear interpolation in one direction: output pixel `i` lies between inputs `low` and `high`.
struct Tap {
  int low, high;
  float share;  // of high
};
Tap tap_of(int i, int factor, int size) {
  const float at = std::clamp((float(i) + 0.5f) / float(factor) - 0.5f, 0.0f, float(size - 1));
  const int low = std::min(int(at), size - 1);
  return {low, std::min(low + 1, size - 1), at - float(low)};
}

}  // namespace

std::vector<float> channel_sum(std::span<const float> map, int height, int width, int channels,
                               Layout layout) {
  check_size(map.size(), height, width, channels);
  const std::size_t pixels = std::size_t(height) * width;
  const std::size_t pixel_step = layout == Layout::hwc ? std::size_t(channels) : 1;
  const std::size_t channel_step = layout == Layout::hwc ? 1 : pixels;
  std::vector<float> out(pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    double sum = 0;
    for (int c = 0; c < channels; ++c) sum += map[i * pixel_step + std::size_t(c) * channel_step];
    out[i] = float(sum);
  }
  return out;
}

void check_finite(std::span<const float> map, int height, int width, int channels) {
  check_size(map.size(), height, width, channels);
  const auto bad = [](float v) { return !std::isfinite(v); };
  const auto first = std::find_if(map.begin(), map.end(), bad);
  if (first == map.end()) return;
  const std::size_t at = std::size_t(first - map.begin()), pixel = at / std::size_t(channels);
  throw Error(fmt::format(
      "the map has {} of {} values that are not finite, the first is {} at y {}, x {}, channel {}",
      std::count_if(first, map.end(), bad), map.size(), *first, pixel / std::size_t(width),
      pixel % std::size_t(width), at % std::size_t(channels)));
}

float percentile_of(std::span<float> values, float percentile) {
  if (values.empty()) throw Error("no values to take a percentile of");
  const double at = double(percentile) / 100 * double(values.size() - 1);
  const std::size_t low = std::size_t(at);
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(low), values.end());
  const double below = values[low];
  if (low + 1 == values.size() || at == double(low)) return float(below);
  const double above = *std::min_element(values.begin() + std::ptrdiff_t(low) + 1, values.end());
  return float(below + (at - double(low)) * (above - below));
}

int enlargement(int width, int height, int least_side) {
  constexpr int most_side = 4096;
  const int shorter = std::min(width, height), longer = std::max(width, height);
  return std::max(1, std::min((least_side + shorter - 1) / shorter, most_side / longer));
}

RenderedMap render_signed(std::span<const float> map, int height, int width, const MapOptions& options) {
  check_options(options);
  check_finite(map, height, width);
  RenderedMap out;
  out.scale = Scale::diverging;
  std::vector<float> magnitudes(map.size());
  std::transform(map.begin(), map.end(), magnitudes.begin(), [](float v) { return std::fabs(v); });
  choose_clip(out, std::move(magnitudes), options.percentile);
  Picture small = blank(width, height, diverging(0));
  if (!out.all_zero)
    for (std::size_t i = 0; i < map.size(); ++i) {
      const Rgb c = diverging(map[i] / out.clip);
      small.rgb[3 * i] = c.r, small.rgb[3 * i + 1] = c.g, small.rgb[3 * i + 2] = c.b;
    }
  out.factor = enlargement(width, height, options.least_side);
  out.picture = enlarge(small, out.factor);
  if (out.all_zero) write_note(out.picture, "all zero");
  return out;
}

RenderedMap render_cam(std::span<const float> map, int height, int width, const Picture& background,
                       const MapOptions& options) {
  check_options(options);
  check_finite(map, height, width);
  check_picture(background);
  if (background.width != width || background.height != height)
    throw Error(
        fmt::format("the picture under a map of {} x {} (width x height) has {} x {} pixels, expected the "
                    "same",
                    width, height, background.width, background.height));
  RenderedMap out;
  out.scale = Scale::sequential;
  std::vector<float> positive(map.size());
  std::transform(map.begin(), map.end(), positive.begin(), [](float v) { return std::max(v, 0.0f); });
  choose_clip(out, positive, options.percentile);
  out.factor = enlargement(width, height, options.least_side);
  out.picture = enlarge(background, out.factor);
  for (int y = 0; y < out.picture.height; ++y) {
    const Tap v = tap_of(y, out.factor, height);
    for (int x = 0; x < out.picture.width; ++x) {
      const Tap h = tap_of(x, out.factor, width);
      const auto row = [&](int r) {
        const float* const p = positive.data() + std::size_t(r) * width;
        return p[h.low] + h.share * (p[h.high] - p[h.low]);
      };
      const float value = row(v.low) + v.share * (row(v.high) - row(v.low));
      const float t = out.all_zero ? 0 : std::min(value / out.clip, 1.0f);
      std::uint8_t* const p = out.picture.pixel(x, y);
      // Dimmed to three fifths so that the map's light end stays brighter than any part of the picture.
      const float under = 0.6f * grey(p), cover = out.all_zero ? 0 : 0.15f + 0.7f * t;
      const Rgb c = sequential(t);
      const auto blend = [&](std::uint8_t over) {
        return std::uint8_t(std::lround(under + cover * (over - under)));
      };
      p[0] = blend(c.r), p[1] = blend(c.g), p[2] = blend(c.b);
    }
  }
  if (out.all_zero) write_note(out.picture, "all zero");
  return out;
}

}  // namespace retrace::render
