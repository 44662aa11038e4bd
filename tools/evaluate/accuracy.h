// Right answers, and which wrong ones.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "tools/data/dataset.h"

namespace retrace::tools {

// The different classes of a sample's objects, in their order; the label where it has no masks.
std::vector<int> classes_of(const data::Sample& sample);

struct Accuracy {
  explicit Accuracy(std::vector<std::string> labels);

  std::vector<std::string> labels;
  // Samples of one class, [true class][answer].
  std::vector<std::vector<std::size_t>> confusion;
  std::size_t one_class = 0, right = 0;
  // Samples with objects of several classes: the best answer is one of the k there; the k best are exactly those.
  std::size_t several = 0, best_among = 0, all_found = 0;

  // `best`: the network's answers, best first, at least as many as the sample has classes. Throws Error naming the
  // sample for a class that does not exist.
  void add(const data::Sample& sample, const std::vector<int>& best);
};

}  // namespace retrace::tools
