#include "tools/data/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "attribution/render/picture.h"
#include "kernels/error.h"
#include "tools/data/random.h"
#include "tools/data/spec.h"

namespace retrace::data {

namespace {

float grey(const std::uint8_t* p) {
  return 0.299f * float(p[0]) + 0.587f * float(p[1]) + 0.114f * float(p[2]);
}

std::uint8_t level(float v) {
  return std::uint8_t(std::clamp(v, 0.0f, 255.0f) + 0.5f);
}

void move(Picture& picture, int dx, int dy) {
  if (dx == 0 && dy == 0) return;
  Picture out = render::blank(picture.width, picture.height, {});
  render::paste(out, picture, dx, dy);
  picture = std::move(out);
}

void mirror(Picture& picture) {
  for (int y = 0; y < picture.height; ++y)
    for (int x = 0; x < picture.width / 2; ++x)
      std::swap_ranges(picture.pixel(x, y), picture.pixel(x, y) + 3, picture.pixel(picture.width - 1 - x, y));
}

void recolour(Picture& picture, float brightness, float contrast, float saturation) {
  std::uint8_t* const end = picture.rgb.data() + picture.rgb.size();
  double sum = 0;
  for (const std::uint8_t* p = picture.rgb.data(); p < end; p += 3) sum += double(grey(p));
  const float mean = float(sum * 3 / double(picture.rgb.size())) * brightness;
  for (std::uint8_t* p = picture.rgb.data(); p < end; p += 3) {
    const float own = (grey(p) * brightness - mean) * contrast + mean;
    for (int c = 0; c < 3; ++c) {
      const float v = (float(p[c]) * brightness - mean) * contrast + mean;
      p[c] = level(own + (v - own) * saturation);
    }
  }
}

}  // namespace

Augmentation parse_augmentation(const std::string& text) {
  Augmentation out;
  if (text.empty() || text == "none") return out;
  Options options("augmentation '" + text + "'", text);
  out.crop = int(options.integer("crop", out.crop, 0, 4096));
  out.flip = options.flag("flip");
  out.jitter = options.real("jitter", out.jitter, 0, 1);
  options.finish();
  return out;
}

std::string to_string(const Augmentation& augmentation) {
  std::string out;
  const auto add = [&](const std::string& piece) { out += (out.empty() ? "" : ",") + piece; };
  if (augmentation.crop) add(fmt::format("crop={}", augmentation.crop));
  if (augmentation.flip) add("flip");
  if (augmentation.jitter > 0) add(fmt::format("jitter={}", augmentation.jitter));
  return out.empty() ? "none" : out;
}

Picture augment(const Picture& picture, const Augmentation& augmentation, std::uint64_t seed,
                std::uint64_t epoch, std::uint64_t index) {
  render::check_picture(picture);
  if (augmentation.crop >= std::min(picture.width, picture.height))
    throw UsageError(
        fmt::format("augmentation: crop={} for pictures of {} x {} pixels, expected less than a side",
                    augmentation.crop, picture.width, picture.height));
  Random random(seed, Purpose::augment, epoch, index);
  // Always drawn, so that one option does not change what another does.
  const std::uint32_t span = 2 * std::uint32_t(augmentation.crop) + 1;
  const int dx = int(random.below(span)) - augmentation.crop,
            dy = int(random.below(span)) - augmentation.crop;
  const bool flipped = random.chance(0.5f);
  const float low = 1 - augmentation.jitter, high = 1 + augmentation.jitter;
  const float brightness = random.between(low, high), contrast = random.between(low, high);
  const float saturation = random.between(low, high);

  Picture out = picture;
  if (augmentation.jitter > 0) recolour(out, brightness, contrast, saturation);
  move(out, dx, dy);
  if (augmentation.flip && flipped) mirror(out);
  return out;
}

}  // namespace retrace::data
