// What lies about in a scene and belongs to no class.
#pragma once
#include "tools/data/scenes/textures.h"

namespace retrace::data::scenes {

// One of: a thin line across the picture, a few short strokes, a scatter of small dots, a curve, a patch of noise with
// a ragged edge. Painted over what is there, partly transparent.
void paint_distractor(Canvas& canvas, Random& random);

}  // namespace retrace::data::scenes
