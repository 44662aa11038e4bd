// How far two networks' answers are apart.
#include <doctest/doctest.h>

#include <limits>

#include "kernels/error.h"
#include "tools/import_check.h"

using namespace retrace;
using namespace retrace::tools;

TEST_CASE("logits are compared by the largest difference and by the best class") {
  const LogitDifference d = compare_logits({1, -8, 4}, {1.5f, -7, 3.75f});
  CHECK(d.absolute == 1);
  CHECK(d.relative == 0.125);
  CHECK(d.source_best == 2);
  CHECK(d.written_best == 2);
  CHECK(compare_logits({1, 2}, {2, 1}).written_best == 0);
  const LogitDifference none = compare_logits({0, 0}, {0, 0});
  CHECK(none.absolute == 0);
  CHECK(none.relative == 0);
}

TEST_CASE("logits that cannot be compared") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(compare_logits({1, 2}, {1}), "1 logits, expected 2", Error);
  CHECK_THROWS_AS(compare_logits({}, {}), Error);
  CHECK_THROWS_WITH_AS(compare_logits({1, 2}, {1, nan}), "the logit of class 1 is nan, of the source 2",
                       Error);
  CHECK_THROWS_AS(compare_logits({inf, 2}, {1, 2}), Error);
}
