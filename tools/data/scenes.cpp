#include "tools/data/scenes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/error.h"
#include "tools/data/scenes/distractors.h"
#include "tools/data/scenes/textures.h"

namespace retrace::data {

using scenes::Canvas;
using scenes::Colour;
using scenes::Field;
using scenes::Figure;
using scenes::Point;

namespace {

void check_range(const char* what, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    throw UsageError(fmt::format("scenes: {}={}, expected {} to {}", what, value, least, most));
}

void check_span(const char* what, int fewest, int most, int lowest, int highest) {
  check_range(what, fewest, lowest, highest);
  check_range(what, most, lowest, highest);
  if (fewest > most)
    throw UsageError(fmt::format("scenes: {}={}-{}, expected the smaller number first", what, fewest, most));
}

std::string span_text(int fewest, int most) {
  return fewest == most ? std::to_string(fewest) : fmt::format("{}-{}", fewest, most);
}

// The distance to a figure's outline at every pixel's centre; far away, some large number.
Field distances(const Figure& figure, int size, float margin) {
  Field field(std::size_t(size) * size, 1e9f);
  const float reach = figure.radius() + margin + 1;
  const auto clip = [&](float v) { return int(std::clamp(v, 0.0f, float(size))); };
  const Point c = figure.centre();
  for (int y = clip(c.y - reach); y < clip(c.y + reach + 1); ++y)
    for (int x = clip(c.x - reach); x < clip(c.x + reach + 1); ++x)
      field[std::size_t(y) * size + x] = figure.distance({float(x) + 0.5f, float(y) + 0.5f});
  return field;
}

// Chooses an object's colours so that it stands out from what surrounds it.
class Palette {
 public:
  // `around`: the pixels no farther than a few from the outline, outside.
  Palette(const Canvas& canvas, const Field& distance, float margin) {
    std::vector<Colour> band;
    for (std::size_t i = 0; i < distance.size(); ++i)
      if (distance[i] > 0 && distance[i] <= margin) band.push_back(canvas.pixels[i]);
    const std::size_t stride = band.size() / 400 + 1;
    for (std::size_t i = 0; i < band.size(); i += stride) around_.push_back(band[i]);
  }

  // The first random colour that will do; where many tries fail, the best of the corners, edges and faces of the cube.
  Colour choose(Random& random) const {
    for (int i = 0; i < 40; ++i) {
      const Colour colour = scenes::random_colour(random);
      if (will_do(colour)) return colour;
    }
    Colour best;
    std::size_t least = around_.size() + 1;
    for (int i = 0; i < 27; ++i) {
      const Colour colour{float(i % 3) * 127.5f, float(i / 3 % 3) * 127.5f, float(i / 9) * 127.5f};
      if (const std::size_t n = too_close(colour); n < least) best = colour, least = n;
    }
    return best;
  }

  bool will_do(Colour colour) const { return too_close(colour) * 10 <= around_.size(); }

 private:
  std::size_t too_close(Colour colour) const {
    return std::size_t(std::count_if(around_.begin(), around_.end(), [&](Colour a) {
      return scenes::difference(a, colour) < Scenes::least_contrast;
    }));
  }

  std::vector<Colour> around_;
};

void paint_object(Canvas& canvas, const Figure& figure, Random& random) {
  const float side = float(canvas.size), margin = std::max(2.0f, side * 0.03f);
  const Field distance = distances(figure, canvas.size, margin);
  const Palette palette(canvas, distance, margin);

  // Inside: one colour, or a pattern of it and a variation or another one.
  const Colour a = palette.choose(random);
  Colour b = a;
  Field field;
  if (random.chance(0.6f)) {
    const Colour other = palette.choose(random);
    const Colour varied = scenes::blend(a, other, random.between(0.1f, 0.4f));
    b = random.chance(0.35f) ? other : palette.will_do(varied) ? varied : a;
    const auto pattern = scenes::Pattern(random.below(scenes::pattern_count));
    field = scenes::draw_pattern(pattern, random, canvas.size, true);
  }
  const bool outlined = random.chance(0.35f);
  const Colour rim = outlined ? palette.choose(random) : a;
  const float width = outlined ? std::max(1.0f, figure.radius() * random.between(0.05f, 0.13f)) : 0;

  for (std::size_t i = 0; i < distance.size(); ++i) {
    const float coverage = std::clamp(0.5f - distance[i], 0.0f, 1.0f);
    if (coverage == 0) continue;
    const Colour inside = field.empty() ? a : scenes::blend(a, b, field[i]);
    const float rim_share = std::clamp(distance[i] + width + 0.5f, 0.0f, outlined ? 1.0f : 0.0f);
    canvas.pixels[i] = scenes::blend(canvas.pixels[i], scenes::blend(inside, rim, rim_share), coverage);
  }
}

// Brightness and noise over all, and rounding.
Picture finish(const Canvas& canvas, Random& random) {
  const float gain = random.between(0.85f, 1.15f), strength = random.chance(0.7f) ? random.between(0, 12) : 0;
  Picture picture{canvas.size, canvas.size, std::vector<std::uint8_t>(canvas.pixels.size() * 3)};
  std::uint8_t* out = picture.rgb.data();
  for (const Colour& pixel : canvas.pixels) {
    // Two random bytes a channel: noise of a triangular distribution in (-1, 1).
    std::uint64_t bits = strength > 0 ? random.next() : 0;
    for (const float v : {pixel.r, pixel.g, pixel.b}) {
      const float noise = (float(bits & 255) - float(bits >> 8 & 255)) / 256;
      *out++ = std::uint8_t(std::clamp(v * gain + noise * strength, 0.0f, 255.0f) + 0.5f);
      bits >>= 16;
    }
  }
  return picture;
}

}  // namespace

Scenes::Scenes(const SceneOptions& options) : options_(options) {
  using Limits = SceneOptions;
  check_range("size", options.size, Limits::least_size, Limits::most_size);
  check_range("count", std::int64_t(std::min(options.count, std::size_t(INT64_MAX))), 1, Limits::most_count);
  check_span("objects", options.fewest_objects, options.most_objects, 1, 2);
  check_span("distractors", options.fewest_distractors, options.most_distractors, 0,
             Limits::distractors_limit);
  spec_ = fmt::format("scenes:size={},count={},seed={},objects={},distractors={}", options.size,
                      options.count, options.seed, span_text(options.fewest_objects, options.most_objects),
                      span_text(options.fewest_distractors, options.most_distractors));
}

std::vector<Figure> Scenes::figures(std::size_t index) const {
  Random random(options_.seed, Purpose::layout, index);
  const int spare = options_.most_objects - options_.fewest_objects;
  const int objects = options_.fewest_objects + int(random.below(std::uint32_t(spare) + 1));
  std::array<int, 2> classes{int(random.below(scenes::shape_count)), 0};
  classes[1] = (classes[0] + 1 + int(random.below(scenes::shape_count - 1))) % scenes::shape_count;

  const float side = float(options_.size);
  std::array<float, 2> radii{};
  std::array<Point, 2> centres{};
  const auto anywhere = [&](float radius) {
    const float low = radius + 1, high = side - radius - 1;
    const float x = random.between(low, high);
    return Point{x, random.between(low, high)};
  };
  for (int i = 0; i < objects; ++i)
    radii[i] = side * (objects == 1 ? random.between(0.14f, 0.3f) : random.between(0.125f, 0.21f));
  // Two circles of at most 0.42 of the side fit in opposite corners, so that some try succeeds; should 1000 fail, those
  // corners are taken.
  const float apart = radii[0] + radii[1] + side * 0.01f;
  bool placed = false;
  for (int i = 0; i < 1000 && !placed; ++i) {
    for (int k = 0; k < objects; ++k) centres[k] = anywhere(radii[k]);
    const float x = centres[0].x - centres[1].x, y = centres[0].y - centres[1].y;
    placed = objects == 1 || x * x + y * y >= apart * apart;
  }
  if (!placed) centres = {Point{radii[0] + 1, radii[0] + 1}, Point{side - radii[1] - 1, side - radii[1] - 1}};

  std::vector<Figure> out;
  for (int i = 0; i < objects; ++i) {
    const float turns = random.unit(), trait = random.unit();
    out.emplace_back(scenes::Shape(classes[i]), centres[i], radii[i], turns, trait);
  }
  return out;
}

Sample Scenes::sample(std::size_t index) const {
  if (index >= options_.count)
    throw Error(fmt::format("{}: sample {}, expected 0 to {}", spec_, index, options_.count - 1));
  Canvas canvas(options_.size);
  Random background(options_.seed, Purpose::background, index);
  scenes::paint_background(canvas, background);

  Random clutter(options_.seed, Purpose::distractors, index);
  const int spare = options_.most_distractors - options_.fewest_distractors;
  const int distractors = options_.fewest_distractors + int(clutter.below(std::uint32_t(spare) + 1));
  for (int i = 0; i < distractors; ++i) scenes::paint_distractor(canvas, clutter);

  Sample sample;
  Random look(options_.seed, Purpose::objects, index);
  for (const Figure& figure : figures(index)) {
    paint_object(canvas, figure, look);
    sample.objects.push_back({int(figure.shape()), figure.mask(options_.size)});
  }
  Random last(options_.seed, Purpose::finish, index);
  sample.picture = finish(canvas, last);
  sample.label = sample.objects.front().label;
  sample.name = fmt::format("scenes/{}", index);
  return sample;
}

}  // namespace retrace::data
