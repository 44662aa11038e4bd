// Pictures made by a generator: one or two objects of eight classes before textures and clutter, and where each is.
#pragma once
#include <cstdint>

#include "tools/data/dataset.h"
#include "tools/data/scenes/shapes.h"

namespace retrace::data {

struct SceneOptions {
  static constexpr int least_size = 24, most_size = 1024, most_count = 2147483647, distractors_limit = 40;

  int size = 128;                            // pixels a side
  std::size_t count = 20000;                 // samples
  std::uint64_t seed = 1;                    // other seeds make pictures that have nothing to do with these
  int fewest_objects = 1, most_objects = 2;  // "objects=1", "objects=2", "objects=1-2"
  int fewest_distractors = 0, most_distractors = 6;  // "distractors=3", "distractors=0-6"
};

// The classes are those of scenes/shapes.h, equally likely; two objects are of two classes. An object lies whole inside
// the picture, at least a pixel from its edge, and inscribed in a circle of 0.28 to 0.6 of the picture's side in
// diameter (two objects: 0.25 to 0.42, circles apart). Its mask holds the pixels whose centres lie inside its outline;
// what lies in front of it is nothing.
// Of the pixels around an object 90 % differ from each of its colours by at least `least_contrast` before brightness
// (a factor of 0.85 to 1.15) and noise (at most ± 12 a channel) are put over all.
// Sample i is a function of (seed, i) and the options but `count`, to the bit, on every machine and in every thread.
class Scenes final : public Dataset {
 public:
  // Distance of colours in RGB, where black and white are 441 apart.
  static constexpr float least_contrast = 70;

  // UsageError for options out of range.
  explicit Scenes(const SceneOptions& options = {});

  std::size_t size() const override { return options_.count; }
  const std::vector<std::string>& labels() const override { return scenes::shape_labels(); }
  Sample sample(std::size_t index) const override;
  const std::string& spec() const override { return spec_; }

  const SceneOptions& options() const { return options_; }
  // The objects of a sample as geometry, in the order of Sample::objects.
  std::vector<scenes::Figure> figures(std::size_t index) const;

 private:
  SceneOptions options_;
  std::string spec_;
};

}  // namespace retrace::data
