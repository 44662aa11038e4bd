// From any picture to the one a model takes.
#pragma once
#include <array>

#include "attribution/render/picture.h"

namespace retrace::image {

// What a model wants; the defaults are ImageNet's.
struct Preprocessing {
  int resize_shorter = 256;  // the shorter side becomes this long, the other in proportion; 0: no resizing
  int crop = 224;            // then this square is cut from the middle; 0: no cropping
  // Both sides become `crop` long, whatever the proportions; resize_shorter is not used. A picture that has
  // this size stays as it is.
  bool exact = false;
  // Not applied here: the normalisation kernel computes (v / 255 - mean) / std per channel (R, G, B).
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f};
  std::array<float, 3> std{0.229f, 0.224f, 0.225f};
};

// For the CIFAR networks: exactly 32 x 32.
Preprocessing cifar_preprocessing();

// Resizes and crops as torchvision's Resize (antialiased bilinear; the longer side is rounded down) and
// CenterCrop (an odd remainder is rounded half to even; where the picture is smaller than the crop it is
// centred on black, the odd row or column at the end). Throws UsageError for negative sizes, Error if the
// result would pass 2^28 pixels.
Picture prepare(const Picture& picture, const Preprocessing& preprocessing);

}  // namespace retrace::image
