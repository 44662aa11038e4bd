// Right answers of one class and of several.
#include <doctest/doctest.h>

#include "kernels/error.h"
#include "tools/evaluate/accuracy.h"

namespace retrace::tools {
namespace {

using Counts = std::vector<std::size_t>;

data::Sample sample(std::vector<int> object_labels, int label = -1) {
  data::Sample s;
  s.label = label >= 0 ? label : object_labels.front();
  for (const int l : object_labels) s.objects.push_back({l, {1}});
  s.name = "sample";
  return s;
}

TEST_CASE("classes of a sample") {
  CHECK(classes_of(sample({}, 3)) == std::vector{3});
  CHECK(classes_of(sample({2, 0})) == std::vector{2, 0});
  CHECK(classes_of(sample({2, 2})) == std::vector{2});
}

TEST_CASE("counts") {
  Accuracy a({"a", "b", "c"});
  a.add(sample({}, 0), {0});
  a.add(sample({1}), {1});
  a.add(sample({1}), {2});
  a.add(sample({1, 1}), {2});  // two objects of one class are one class
  CHECK(a.one_class == 4);
  CHECK(a.right == 2);
  CHECK(a.confusion == std::vector<Counts>{{1, 0, 0}, {0, 1, 2}, {0, 0, 0}});
  a.add(sample({0, 2}), {2, 0});  // both, in any order
  a.add(sample({0, 2}), {0, 1});  // one
  a.add(sample({0, 2}), {1, 0});  // the best is neither
  CHECK(a.several == 3);
  CHECK(a.best_among == 2);
  CHECK(a.all_found == 1);
  CHECK(a.one_class == 4);
}

TEST_CASE("a class that is not there") {
  Accuracy a({"a", "b", "c"});
  CHECK_THROWS_WITH_AS(a.add(sample({}, 3), {0}), "sample: class 3, expected 0 to 2", Error);
  CHECK_THROWS_AS(a.add(sample({0, -1}), {0, 1}), Error);
  CHECK_THROWS_AS(a.add(sample({0, 1}), {0}), Error);
  CHECK(a.one_class + a.several == 0);
}

}  // namespace
}  // namespace retrace::tools
