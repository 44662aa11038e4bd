// Deletion and insertion (Petsiuk et al., "RISE", BMVC 2018): take away what the map calls important first, and the
// class's probability should fall at once; put it back first, and it should rise at once. Square patches instead of
// pixels, so that the network meets pictures and not grain.
#pragma once
#include <functional>
#include <span>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace::measures {

// The patches of a picture row by row: ⌈height / patch⌉ x ⌈width / patch⌉ of patch x patch pixels, smaller at the far
// edges. Returns their numbers by summed relevance, highest first; the lower number first where sums are equal.
std::vector<int> rank_patches(std::span<const float> map, int height, int width, int patch);

// What takes the place of removed patches.
// The picture under a Gaussian of standard deviation σ pixels; beyond the edge the edge's pixels go on.
Picture blurred(const Picture& picture, double sigma);
// One colour.
Picture filled(int width, int height, render::Rgb colour);

// Probabilities of the class in question, one per picture.
using Score = std::function<std::vector<float>(const std::vector<Picture>&)>;

struct Curves {
  std::vector<double> share;      // of the picture's pixels removed (inserted), from 0 to 1
  std::vector<double> deletion;   // probability with that share removed
  std::vector<double> insertion;  // probability with that share of the picture on the removed one
  // Under the curves, by the trapezium rule.
  double deletion_area = 0, insertion_area = 0;
  double score() const { return insertion_area - deletion_area; }  // higher is better
};

struct PerturbationOptions {
  int patch = 4;
  int steps = 16;  // from 0 to 1, about equal; no more than there are patches
  int batch = 8;   // pictures scored at once
};

// The area under y over x.
double trapezium(std::span<const double> x, std::span<const double> y);

// One pair of curves for each order of the picture's patches. `removed` is the picture with everything removed. Both
// ends are the same for every order and scored once. Throws UsageError for options below 1; Error if the pictures'
// sizes differ, an order does not name every patch once, or `score` returns another number of values than pictures or
// one that is not finite.
std::vector<Curves> deletion_insertion(const Picture& picture, const Picture& removed,
                                       std::span<const std::vector<int>> orders,
                                       const PerturbationOptions& options, const Score& score);

}  // namespace retrace::measures
