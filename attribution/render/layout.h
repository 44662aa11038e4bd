// Pictures side by side, with words: the original next to its maps.
#pragma once
#include <optional>
#include <span>
#include <string>

#include "attribution/render/render.h"

namespace retrace::render {

// What a colour bar shows.
struct Bar {
  Scale scale = Scale::diverging;
  float clip = 0;  // its end; 0 draws no bar
};

struct Panel {
  Picture picture;
  std::string caption;  // under the picture, wrapped to its width
  std::optional<Bar> bar = std::nullopt;
};

// A panel with a map, its colour bar and a caption.
Panel panel_of(const RenderedMap& map, std::string caption);

// Panels from left to right on white. Pictures smaller than the tallest are enlarged by the whole factor that
// still fits, so that a 32 x 32 original stands beside its enlarged map. `title` goes above them all. Throws
// Error if there is no panel or the picture would be too large.
Picture side_by_side(std::span<const Panel> panels, std::string_view title = {});

// A bar of the colours from -clip (or 0) to clip, `width` pixels wide, with the two ends (and 0) written
// under it. For a diverging bar at least 200 pixels are needed for the words not to touch.
Picture colour_bar(Bar bar, int width);

}  // namespace retrace::render
