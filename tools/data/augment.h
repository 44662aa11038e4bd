// Small random changes to a training picture that leave what it shows alone.
#pragma once
#include <cstdint>
#include <string>

#include "attribution/render/picture.h"

namespace retrace::data {

struct Augmentation {
  // Moves the picture by up to this many pixels each way; black comes in from the edge (torchvision's RandomCrop with
  // padding).
  int crop = 0;
  bool flip = false;  // left and right, every other time
  // Brightness (v · f), contrast (about the mean grey) and saturation (about each pixel's own grey), in this order, by
  // factors f in 1 ± jitter; 0 … 1.
  float jitter = 0;

  bool operator==(const Augmentation&) const = default;
};

// "crop=4,flip,jitter=0.2", in any order; "" and "none" change nothing. UsageError otherwise.
Augmentation parse_augmentation(const std::string& text);
std::string to_string(const Augmentation& augmentation);

// The change is a function of (seed, epoch, index). Throws UsageError if the crop is not less than the picture's
// shorter side.
Picture augment(const Picture& picture, const Augmentation& augmentation, std::uint64_t seed,
                std::uint64_t epoch, std::uint64_t index);

}  // namespace retrace::data
