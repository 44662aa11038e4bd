// Results to report, small enough to know every number of.
#pragma once
#include "tools/evaluate/results.h"

namespace retrace::tools {

// Four samples of one class (the second answered wrongly), one of two; a CAM, a pixel method whose name needs quoting,
// a baseline.
inline Results made_up(bool masks = true) {
  Results r;
  r.data = "made:up";
  r.model = "net";
  r.samples = 5;
  r.accuracy = Accuracy({"cat", "dog, small"});
  r.accuracy.one_class = 4, r.accuracy.right = 3;
  r.accuracy.confusion = {{2, 0}, {1, 1}};
  if (masks) r.accuracy.several = 1, r.accuracy.best_among = 1;
  r.height = r.width = 8;
  r.patch = 2, r.steps = 2;
  const double shares[] = {0.3, 0.1, 0.2, 0.4};
  for (int i = 0; i < 4; ++i) {
    r.single.push_back({.sample = std::size_t(i),
                        .target = i / 2,
                        .name = "s" + std::to_string(i),
                        .answer = i == 1 ? 1 : i / 2,
                        .probability = 0.5,
                        .mask_share = masks ? shares[i] : 0});
  }
  if (masks) {
    for (const int c : {0, 1}) {
      r.several.push_back(
          {.sample = 4, .target = c, .name = "s4", .answer = 0, .probability = 0.4, .mask_share = 0.1});
    }
  }
  for (const char* const name : {"cam", "lrp:a,b", "random order"}) {
    MethodResults m;
    m.name = name;
    m.baseline = m.name == "random order";
    m.cam = m.name == "cam";
    m.cell_height = m.cell_width = 4;
    for (int i = 0; i < 4; ++i) {
      Localization l{.mass = 0.1 * i, .mass_pixels = 0.2 * i, .mass_cell = 0.3 * i, .rank = 0.5};
      l.empty = i == 0;
      m.localization.push_back(masks ? std::optional(l) : std::nullopt);
      measures::Curves c{{0, 0.5, 1}, {1, 0.25 * i, 0}, {0, 0.5, 1}};
      c.deletion_area = measures::trapezium(c.share, c.deletion);
      c.insertion_area = measures::trapezium(c.share, c.insertion);
      m.curves.push_back(c);
    }
    if (masks) m.objects = {{.own = 0.6, .other = 0.2}, {.own = 0.1, .other = 0.3}};
    r.methods.push_back(std::move(m));
  }
  return r;
}

}  // namespace retrace::tools
