#include <cmath>

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

struct Case {
  int rows, columns;
  float smoothing, scale;
};

struct Reference {
  std::vector<double> loss, dlogits;
};

Reference reference_of(const Case& c, const std::vector<double>& z, const std::vector<double>& target) {
  Reference r;
  for (int i = 0; i < c.rows; ++i) {
    const auto at = [&](int j) { return std::size_t(i * c.columns + j); };
    double largest = -INFINITY, sum = 0, mass = 0, loss = 0;
    for (int j = 0; j < c.columns; ++j) largest = std::max(largest, z[at(j)]);
    for (int j = 0; j < c.columns; ++j) sum += std::exp(z[at(j)] - largest);
    const auto q = [&](int j) {
      return (1 - double(c.smoothing)) * target[at(j)] + double(c.smoothing) / c.columns;
    };
    for (int j = 0; j < c.columns; ++j) {
      mass += q(j);
      loss -= q(j) * (z[at(j)] - largest - std::log(sum));
    }
    r.loss.push_back(loss);
    for (int j = 0; j < c.columns; ++j) {
      r.dlogits.push_back(double(c.scale) * (std::exp(z[at(j)] - largest) / sum * mass - q(j)));
    }
  }
  return r;
}

struct Got {
  Floats loss, dlogits;
};

Got run(const Case& c, const Floats& z, const Ints& classes, const Floats& targets, bool gradient = true) {
  const Input<float> logits(z), soft(targets);
  const Input<std::int32_t> hard(classes);
  const Output<float> loss(c.rows), dlogits(1LL * c.rows * c.columns);
  kernels::CrossEntropy a;
  a.rows = c.rows;
  a.columns = c.columns;
  a.logits = logits;
  a.classes = hard;
  a.targets = soft;
  a.smoothing = c.smoothing;
  a.scale = c.scale;
  a.loss = loss;
  if (gradient) a.dlogits = dlogits;
  table().cross_entropy(a, stream());
  return {loss.to_host(), gradient ? dlogits.to_host() : Floats()};
}

Ints classes_for(const Case& c) {
  Ints classes;
  for (int i = 0; i < c.rows; ++i) classes.push_back(std::int32_t(i * 7 % c.columns));
  return classes;
}

Floats one_hot(const Case& c, const Ints& classes) {
  Floats q(std::size_t(c.rows * c.columns));
  for (int i = 0; i < c.rows; ++i) q[std::size_t(i * c.columns + classes[std::size_t(i)])] = 1;
  return q;
}

// Each row sums to 1.
Floats shares(const Case& c) {
  Floats q = random_floats(1LL * c.rows * c.columns, 5, 0, 1);
  for (int i = 0; i < c.rows; ++i) {
    float sum = 0;
    for (int j = 0; j < c.columns; ++j) sum += q[std::size_t(i * c.columns + j)];
    for (int j = 0; j < c.columns; ++j) q[std::size_t(i * c.columns + j)] /= sum;
  }
  return q;
}

const Case cases[] = {
    {1, 1, 0, 1}, {3, 2, 0.1f, 0.5f}, {5, 8, 0, 0.2f}, {4, 33, 0.1f, 1}, {9, 1000, 0.2f, 1.0f / 9}};

}  // namespace

TEST_CASE("cross_entropy") {
  for (const Case& c : cases) {
    for (const bool soft : {false, true}) {
      for (const float spread : {4.0f, 1e4f}) {
        CAPTURE(c.columns);
        CAPTURE(soft);
        CAPTURE(spread);
        const Floats z = random_floats(1LL * c.rows * c.columns, 1, -spread, spread);
        const Ints classes = classes_for(c);
        const Floats q = soft ? shares(c) : one_hot(c, classes);
        Got got;
        run_all_ways(1, [&](int, int) {
          got = run(c, z, soft ? Ints() : classes, soft ? q : Floats());
          Floats all = got.loss;
          all.insert(all.end(), got.dlogits.begin(), got.dlogits.end());
          return Results{.y = all};
        });
        const Reference want = reference_of(c, {z.begin(), z.end()}, {q.begin(), q.end()});
        // A logit is a float, 6e-8 of itself off; expf and logf add a few units in the last place, sums of up to 1000
        // terms over 32 lanes some more.
        CHECK_CLOSE(got.loss, want.loss, 1e-6 * (double(spread) + 4), 1e-6);
        CHECK_CLOSE(got.dlogits, want.dlogits, 2e-6, c.columns == 1 ? 1e-6 : 1e-5);
        CHECK_SAME_BITS(run(c, z, soft ? Ints() : classes, soft ? q : Floats(), false).loss, got.loss);
      }
    }
  }
}

TEST_CASE("the gradient of cross-entropy is the slope of its loss") {
  const Case c{2, 5, 0.1f, 1};
  const Floats z = random_floats(10, 3, -2, 2), q = shares(c);
  const Got got = run(c, z, {}, q);
  for (std::size_t i = 0; i < z.size(); ++i) {
    std::vector<double> up(z.begin(), z.end()), down = up;
    up[i] += 1e-5;
    down[i] -= 1e-5;
    double slope = 0;
    for (std::size_t row = 0; row < 2; ++row) {
      slope += (reference_of(c, up, {q.begin(), q.end()}).loss[row] -
                reference_of(c, down, {q.begin(), q.end()}).loss[row]) /
               2e-5;
    }
    CHECK(double(got.dlogits[i]) == doctest::Approx(slope).epsilon(1e-5));
  }
}

TEST_CASE("cross_entropy: what is not finite stays in its row") {
  const Case c{3, 4, 0, 1};
  Floats z = random_floats(12, 2);
  z[5] = nan_value;
  Got got = run(c, z, {0, 0, 0}, {});
  CHECK(std::isfinite(got.loss[0]));
  CHECK(std::isnan(got.loss[1]));
  CHECK(std::isfinite(got.loss[2]));
  for (std::size_t i = 0; i < 12; ++i) CHECK(std::isnan(got.dlogits[i]) == (i / 4 == 1));
  // A class that cannot be, and is not wanted, costs nothing.
  z[5] = -infinity;
  got = run(c, z, {0, 0, 0}, {});
  CHECK(std::isfinite(got.loss[1]));
  CHECK(got.dlogits[5] == 0);
  // Where it is wanted, the loss is infinite.
  CHECK(run(c, z, {0, 1, 0}, {}).loss[1] == infinity);
  for (const std::int32_t bad : {-1, 4}) {
    got = run(c, z, {0, 0, bad}, {});
    CHECK(std::isnan(got.loss[2]));
    CHECK(std::isnan(got.dlogits[8]));
    CHECK(std::isfinite(got.loss[0]));
  }
}

TEST_CASE("cross_entropy refuses what it cannot work on") {
  const Output<float> logits(12), targets(12), loss(3), dlogits(12);
  const Output<std::int32_t> classes(3);
  kernels::CrossEntropy base;
  base.rows = 3;
  base.columns = 4;
  base.logits = logits;
  base.targets = targets;
  base.loss = loss;
  base.dlogits = dlogits;
  const auto with = [&](auto change) {
    kernels::CrossEntropy a = base;
    change(a);
    return [a] { table().cross_entropy(a, stream()); };
  };
  with([](auto&) {})();
  check_refused(with([](auto& a) { a.rows = 0; }), {"cross_entropy", "rows is 0"});
  check_refused(with([](auto& a) { a.columns = 0; }), {"columns is 0"});
  check_refused(with([](auto& a) { a.logits = nullptr; }), {"logits is null"});
  check_refused(with([](auto& a) { a.loss = nullptr; }), {"loss is null"});
  check_refused(with([](auto& a) { a.targets = nullptr; }), {"neither kind", "classes or targets"});
  check_refused(with([&](auto& a) { a.classes = classes; }), {"both kinds"});
  check_refused(with([](auto& a) { a.smoothing = 1.5f; }), {"smoothing", "0 to 1"});
  check_refused(with([](auto& a) { a.smoothing = nan_value; }), {"smoothing"});
  check_refused(with([&](auto& a) { a.dlogits = logits; }), {"dlogits", "memory of logits"});
  check_refused(with([&](auto& a) { a.loss = dlogits; }), {"loss", "memory of dlogits"});
}
