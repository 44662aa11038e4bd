// Does a heat map lie on the object it should explain? Map and mask have one value a pixel, in the same order.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace retrace::measures {

// Every function throws Error where the sizes differ, the mask is empty (what should the map lie on?) or a value is
// not finite. A map without a positive value shows nothing: it scores 0, whatever the mask.
using Map = std::span<const float>;
using MaskView = std::span<const std::uint8_t>;

// Is any value > 0?
bool shows_anything(Map map);

// The share of the positive relevance that lies inside the mask:  Σ_{p in mask} R⁺_p / Σ_p R⁺_p
// (relevance mass accuracy; Arras, Osman, Samek, "CLEVR-XAI", Information Fusion 81, 2022). A constant map scores the
// mask's share of the picture.
double mass_accuracy(Map map, MaskView mask);

// Of the K = |mask| pixels of highest relevance, the share inside the mask (relevance rank accuracy; the same paper).
// Where pixels tie for the last places, each has the same claim to them: a constant map scores the mask's share.
double rank_accuracy(Map map, MaskView mask);

// 1 if the highest pixel lies inside the mask, else 0 (pointing game; Zhang et al., "Top-down neural attention by
// excitation backprop", IJCV 126, 2018). Tolerance is the mask's affair: dilate it. Of several equally high pixels the
// share inside.
double pointing_game(Map map, MaskView mask);

// One map of a picture with objects of several classes: does it lie on the object it was asked for?
struct ObjectShare {
  double own = 0;    // share of the positive relevance on the object of the class explained
  double other = 0;  // on the other object; of several, on the one that has most
  bool follows() const { return own > other; }
};
ObjectShare object_share(Map map, MaskView own, std::span<const MaskView> others);

}  // namespace retrace::measures
