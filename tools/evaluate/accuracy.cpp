#include "tools/evaluate/accuracy.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace retrace::tools {

std::vector<int> classes_of(const data::Sample& sample) {
  if (sample.objects.empty()) return {sample.label};
  std::vector<int> classes;
  for (const data::Object& object : sample.objects) {
    if (std::find(classes.begin(), classes.end(), object.label) == classes.end())
      classes.push_back(object.label);
  }
  return classes;
}

Accuracy::Accuracy(std::vector<std::string> names)
    : labels(std::move(names)), confusion(labels.size(), std::vector<std::size_t>(labels.size(), 0)) {}

void Accuracy::add(const data::Sample& sample, const std::vector<int>& best) {
  std::vector<int> classes = classes_of(sample);
  for (const int c : classes) {
    if (c < 0 || std::size_t(c) >= labels.size()) {
      throw Error(fmt::format("{}: class {}, expected 0 to {}", sample.name, c, labels.size() - 1));
    }
  }
  if (best.size() < classes.size()) {
    throw Error(fmt::format("{}: {} answers for {} classes", sample.name, best.size(), classes.size()));
  }
  if (classes.size() == 1) {
    ++one_class;
    right += best.front() == classes.front();
    ++confusion[std::size_t(classes.front())][std::size_t(best.front())];
    return;
  }
  ++several;
  best_among += std::find(classes.begin(), classes.end(), best.front()) != classes.end();
  std::vector<int> answers(best.begin(), best.begin() + std::ptrdiff_t(classes.size()));
  std::sort(answers.begin(), answers.end());
  std::sort(classes.begin(), classes.end());
  all_found += answers == classes;
}

}  // namespace retrace::tools
