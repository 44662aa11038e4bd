#include "tests/reference/cross_entropy.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using reference::Values;

namespace {

// Single values; tails of a warp's 32 columns and of a block's 4 rows.
struct Size {
  int rows, columns;
};
const Size sizes[] = {{1, 1}, {3, 2}, {5, 8}, {9, 33}, {4, 1000}};

Values wide(const Floats& values) {
  return {values.begin(), values.end()};
}

// One of classes and targets is empty.
struct Problem {
  int rows, columns;
  Floats logits;
  Ints classes;
  Floats targets;
  float smoothing = 0, scale = 1;
  Values dense_targets() const {
    return classes.empty() ? wide(targets) : reference::one_hot(std::size_t(columns), classes);
  }
};
struct Answer {
  Floats loss, dlogits;
};

Answer solve(const Problem& p, int first, int count, bool gradient = true) {
  const Input<float> logits(p.logits, p.rows, first, count), targets(p.targets, p.rows, first, count);
  const Input<std::int32_t> classes(p.classes, p.rows, first, count);
  const Output<float> loss(count), dlogits(1LL * count * p.columns);
  kernels::CrossEntropy a;
  a.rows = count;
  a.columns = p.columns;
  a.logits = logits;
  a.classes = classes;
  a.targets = targets;
  a.smoothing = p.smoothing;
  a.scale = p.scale;
  a.loss = loss;
  if (gradient) a.dlogits = dlogits;
  table().cross_entropy(a, stream());
  return {loss.to_host(), gradient ? dlogits.to_host() : Floats()};
}
Answer solve(const Problem& p) {
  return solve(p, 0, p.rows);
}

// In every order of threads and row by row.
Answer solve_all_ways(const Problem& p) {
  Floats loss;
  const Results dlogits = run_all_ways(
      p.rows, [&](int first, int count) { return Results{.y = solve(p, first, count).dlogits}; });
  const Results losses = run_all_ways(p.rows, [&](int first, int count) {
    const Answer with = solve(p, first, count), without = solve(p, first, count, false);
    CHECK_SAME_BITS(with.loss, without.loss);  // whether a gradient is wanted or not
    return Results{.y = with.loss};
  });
  return {losses.y, dlogits.y};
}

Problem random_problem(const Size& size, bool soft, float smoothing, float range) {
  const auto& [rows, columns] = size;
  Problem p{rows, columns, random_floats(1LL * rows * columns, 1, -range, range), {}, {}, smoothing, 0.25f};
  if (soft) {  // not probabilities on purpose: Σ q is part of the gradient
    p.targets = random_floats(1LL * rows * columns, 2, 0, 2 / float(columns));
  } else {
    for (int row = 0; row < rows; ++row) p.classes.push_back((row * 7 + columns - 1) % columns);
  }
  return p;
}

}  // namespace

TEST_CASE("cross_entropy: classes and soft targets, smoothed and not") {
  for (const Size& size : sizes) {
    for (const bool soft : {false, true}) {
      for (const float smoothing : {0.0f, 0.1f, 1.0f}) {
        CAPTURE(size.rows);
        CAPTURE(size.columns);
        CAPTURE(soft);
        CAPTURE(smoothing);
        const Problem p = random_problem(size, soft, smoothing, 5);
        const Answer got = solve_all_ways(p);
        const auto columns = std::size_t(p.columns);
        const Values targets = p.dense_targets();
        // log softmax of up to 17 is good to 2 units of 2^-20 (the sum of exp and its logarithm, the subtractions);
        // Σ q is at most 2.
        CHECK_CLOSE(got.loss, reference::cross_entropy(columns, wide(p.logits), targets, double(smoothing)),
                    4e-6, 1e-6);
        // Probabilities good to 1e-6 of themselves, times Σ q, times 0.25.
        CHECK_CLOSE(
            got.dlogits,
            reference::cross_entropy_backward(columns, wide(p.logits), targets, double(smoothing), 0.25),
            5e-7, 1e-6);
      }
    }
  }
}

TEST_CASE("cross_entropy: logits of 10^4 either way") {
  for (const Size& size : sizes) {
    for (const bool soft : {false, true}) {
      for (const float smoothing : {0.0f, 0.1f}) {
        CAPTURE(size.columns);
        CAPTURE(soft);
        CAPTURE(smoothing);
        const Problem p = random_problem(size, soft, smoothing, 1e4f);
        const Answer got = solve_all_ways(p);
        const auto columns = std::size_t(p.columns);
        const Values targets = p.dense_targets();
        // x − max is up to 2e4 and rounded to 2^-10 there; then the products and sums of a loss of that size.
        CHECK_CLOSE(got.loss, reference::cross_entropy(columns, wide(p.logits), targets, double(smoothing)),
                    1e-2, 1e-6);
        // Near the maximum, where exp is not 0, x − max is exact: as above.
        CHECK_CLOSE(
            got.dlogits,
            reference::cross_entropy_backward(columns, wide(p.logits), targets, double(smoothing), 0.25),
            5e-7, 1e-6);
      }
    }
  }
}

TEST_CASE("cross_entropy: the scale, and the same numbers from classes and from their rows of targets") {
  Problem p = random_problem({5, 8}, false, 0.1f, 3);
  const Answer quarter = solve(p);
  p.scale = -0.5f;
  const Answer half = solve(p);
  CHECK_SAME_BITS(half.loss, quarter.loss);
  for (std::size_t i = 0; i < 40; ++i) CHECK(half.dlogits[i] == -2 * quarter.dlogits[i]);
  const Values dense = p.dense_targets();
  p.classes.clear();
  for (const double v : dense) p.targets.push_back(float(v));
  CHECK_SAME_BITS(solve(p).loss, half.loss);
  CHECK_SAME_BITS(solve(p).dlogits, half.dlogits);
}

TEST_CASE("cross_entropy: infinities, NaN and classes that are none stay in their rows") {
  const int rows = 9, columns = 3;
  Problem p{rows, columns, Floats(), {2, 0, 1, 3, -1, 1, 2, 2, 0}, {}, 0, 1};
  p.logits = {0,         0,         -infinity,  // 0: impossible and wanted
              0,         0,         -infinity,  // 1: impossible and not wanted
              nan_value, 0,         0,          // 2: NaN on a class that is not wanted
              0,         0,         0,          // 3: a class past the last
              0,         0,         0,          // 4: and below the first
              0,         0,         nan_value,  // 5
              infinity,  0,         0,          // 6: ∞ − ∞
              0,         0,         0,          // 7
              -infinity, -infinity, -infinity};
  const Answer got = solve_all_ways(p);
  const double log2 = std::log(2), log3 = std::log(3);
  CHECK_CLOSE(got.loss,
              (Values{double(infinity), log2, nan_value, nan_value, nan_value, nan_value, nan_value, log3,
                      nan_value}),
              1e-7, 1e-7);  // one rounding of a logarithm of about 1
  const double third = 1.0 / 3, nan = double(nan_value);
  CHECK_CLOSE(got.dlogits, (Values{0.5,   0.5,   -1,         //
                                   -0.5,  0.5,   0,          //
                                   nan,   nan,   nan,        //
                                   nan,   nan,   nan,        //
                                   nan,   nan,   nan,        //
                                   nan,   nan,   nan,        //
                                   nan,   nan,   nan,        //
                                   third, third, third - 1,  //
                                   nan,   nan,   nan}),
              1e-7, 1e-7);
  // Smoothing wants every class a little, the impossible one too.
  p.smoothing = 0.1f;
  CHECK(solve(p).loss[1] == infinity);
  // A soft target of 0 wants none.
  Problem soft{1, 3, {0, 0, -infinity}, {}, {0.5f, 0.5f, 0}, 0, 1};
  CHECK_CLOSE(solve(soft).loss, (Values{log2}), 1e-7, 1e-7);
  CHECK_CLOSE(solve(soft).dlogits, (Values{0, 0, 0}), 1e-7, 1e-7);
}

TEST_CASE("the reference of cross-entropy: its gradient against finite differences") {
  const std::size_t rows = 3, columns = 8;
  Values logits = wide(random_floats(rows * columns, 1, -3, 3));
  const Values targets = wide(random_floats(rows * columns, 2, 0, 0.25f));
  for (const double smoothing : {0.0, 0.1}) {
    const Values g = reference::cross_entropy_backward(columns, logits, targets, smoothing, 1);
    Values slopes;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double before = logits[i], h = 1e-5;
      logits[i] = before + h;
      const double above = reference::cross_entropy(columns, logits, targets, smoothing)[i / columns];
      logits[i] = before - h;
      slopes.push_back((above - reference::cross_entropy(columns, logits, targets, smoothing)[i / columns]) /
                       (2 * h));
      logits[i] = before;
    }
    CHECK_CLOSE(slopes, g, 1e-9,
                1e-9);  // h² times a third derivative of at most 1/10, and roundings of 1e-15 / h
  }
}
