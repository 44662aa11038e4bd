#include <cmath>

#include "tests/kernels/ops/support.h"
#include "tests/reference/linear.h"

using namespace retrace;
using namespace retrace::test;

namespace {

// Adding `terms` products of values up to 1, of random sign, the partial sums stay below √terms + 2; each of the
// additions, and one to what was there, rounds by 2^-24 of that.
double tolerance(int terms) {
  return 6e-8 * (terms + 4) * (std::sqrt(double(terms)) + 2);
}

Floats with_offset(Floats values, int offset) {
  values.insert(values.begin(), std::size_t(offset), 0.0f);
  return values;
}

Floats wgrad(int n, int c, int k, const Floats& x, const Floats& dy, const Floats& before, int offset = 0) {
  const Input<float> device_x(with_offset(x, offset)), device_dy(with_offset(dy, offset));
  const Input<float> accumulated(before);
  const Output<float> fresh(1LL * k * c);
  kernels::LinearWgrad a;
  a.n = n;
  a.c = c;
  a.k = k;
  a.x = device_x + offset;
  a.dy = device_dy + offset;
  a.accumulate = !before.empty();
  a.dw = before.empty() ? static_cast<float*>(fresh) : static_cast<float*>(accumulated);
  table().linear_wgrad(a, stream());
  return before.empty() ? fresh.to_host() : accumulated.to_host();
}

Floats sums(int rows, int columns, const Floats& x, const Floats& before) {
  const Input<float> device_x(x), accumulated(before);
  const Output<float> fresh(columns), workspace(kernels::column_sums_workspace(rows, columns));
  kernels::ColumnSums a;
  a.rows = rows;
  a.columns = columns;
  a.x = device_x;
  a.accumulate = !before.empty();
  a.y = before.empty() ? static_cast<float*>(fresh) : static_cast<float*>(accumulated);
  a.workspace = workspace;
  table().column_sums(a, stream());
  return before.empty() ? fresh.to_host() : accumulated.to_host();
}

// The launch in every order of threads; run_all_ways would also cut the batch that is summed over.
template <class Run>
Floats in_every_order(Run run) {
  return run_all_ways(1, [&](int, int) { return Results{.y = run()}; }).y;
}

reference::Values plus(reference::Values sum, const Floats& before) {
  for (std::size_t i = 0; i < before.size(); ++i) sum[i] += double(before[i]);
  return sum;
}

}  // namespace

TEST_CASE("linear_wgrad") {
  struct Shape {
    int n, c, k;
  };
  // Single values; one tile of 64 x 64 exactly, its tails, several; batches of less than a step of 8, one, several.
  const Shape shapes[] = {{1, 1, 1},  {1, 7, 5},      {3, 64, 64},    {8, 63, 65},
                          {9, 66, 2}, {16, 132, 100}, {33, 130, 128}, {2, 512, 10}};
  for (const auto& [n, c, k] : shapes) {
    for (const bool accumulate : {false, true}) {
      CAPTURE(n);
      CAPTURE(c);
      CAPTURE(k);
      CAPTURE(accumulate);
      const Floats x = random_floats(1LL * n * c, 1), dy = random_floats(1LL * n * k, 2);
      const Floats before = accumulate ? random_floats(1LL * k * c, 3) : Floats();
      const Floats got = in_every_order([&, n = n, c = c, k = k] { return wgrad(n, c, k, x, dy, before); });
      CHECK_CLOSE(got, plus(reference::linear_wgrad(n, c, k, x, dy), before), tolerance(n), 1e-6);
      // One float off a 16-byte boundary, where no wide load may run.
      CHECK_SAME_BITS(wgrad(n, c, k, x, dy, before, 1), got);
    }
  }
}

TEST_CASE("linear_wgrad is the adjoint of linear_fprop in the weights: <x wT, dy> = <dw, w>") {
  const int n = 5, c = 70, k = 17;
  const Floats x = random_floats(n * c, 1), w = random_floats(k * c, 2), dy = random_floats(n * k, 3);
  const Input<float> device_x(x), device_w(w);
  const Output<float> y(n * k);
  kernels::LinearFprop f;
  f.n = n;
  f.c = c;
  f.k = k;
  f.x = device_x;
  f.w = device_w;
  f.y = y;
  table().linear_fprop(f, stream());
  const auto dot = [](const Floats& a, const Floats& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * double(b.at(i));
    return sum;
  };
  // 5950 products of values up to 1, each off by a few 1e-8 of random sign: 1e-8 · 3 · √5950 = 2e-6.
  CHECK(std::abs(dot(y.to_host(), dy) - dot(wgrad(n, c, k, x, dy, {}), w)) < 2e-5);
}

TEST_CASE("column_sums") {
  struct Shape {
    int rows, columns;
  };
  // Single values; tails of 8 threads and of 32 columns; one slice of 256 rows and two, many, the most there are; and
  // rows that leave the last slice short.
  const Shape shapes[] = {{1, 1}, {7, 33}, {256, 10}, {257, 64}, {1030, 100}, {3, 1000}, {70001, 2}};
  for (const auto& [rows, columns] : shapes) {
    for (const bool accumulate : {false, true}) {
      CAPTURE(rows);
      CAPTURE(columns);
      CAPTURE(accumulate);
      const Floats x = random_floats(1LL * rows * columns, 1);
      const Floats before = accumulate ? random_floats(columns, 2) : Floats();
      const Floats got =
          in_every_order([&, rows = rows, columns = columns] { return sums(rows, columns, x, before); });
      // Of 70001 rows, 274 a slice, a thread adds 35, then 8 threads and 256 slices are added: 300 roundings.
      CHECK_CLOSE(got, plus(reference::column_sums(rows, columns, x), before),
                  6e-8 * (300 + 4) * (std::sqrt(double(rows)) + 2), 1e-6);
    }
  }
  CHECK(kernels::column_sums_workspace(256, 10) == 10);
  CHECK(kernels::column_sums_workspace(257, 10) == 20);
  CHECK(kernels::column_sums_workspace(2000000000, 1) == 256);
}

TEST_CASE("linear_wgrad and column_sums refuse what they cannot work on") {
  const Output<float> x(32), dy(32), dw(32), workspace(32);
  kernels::LinearWgrad g;
  g.n = 2;
  g.c = 4;
  g.k = 8;
  g.x = x;
  g.dy = dy;
  g.dw = dw;
  const auto wgrad_with = [&](auto change) {
    kernels::LinearWgrad changed = g;
    change(changed);
    return [changed] { table().linear_wgrad(changed, stream()); };
  };
  wgrad_with([](auto&) {})();
  check_refused(wgrad_with([](auto& a) { a.n = 0; }), {"linear_wgrad", "n is 0", "at least 1"});
  check_refused(wgrad_with([](auto& a) { a.c = -1; }), {"c is -1"});
  check_refused(wgrad_with([](auto& a) { a.k = 0; }), {"k is 0"});
  check_refused(wgrad_with([](auto& a) { a.n = a.c = 2000000000; }), {"size of x"});
  check_refused(wgrad_with([](auto& a) { a.x = nullptr; }), {"linear_wgrad", "x is null"});
  check_refused(wgrad_with([](auto& a) { a.dy = nullptr; }), {"dy is null"});
  check_refused(wgrad_with([](auto& a) { a.dw = nullptr; }), {"dw is null"});
  check_refused(wgrad_with([&](auto& a) { a.dw = x + 7; }), {"dw", "memory of x"});
  check_refused(wgrad_with([&](auto& a) { a.dw = dy + 15; }), {"dw", "memory of dy"});

  kernels::ColumnSums s;
  s.rows = 4;
  s.columns = 8;
  s.x = x;
  s.y = dw;
  s.workspace = workspace;
  const auto sums_with = [&](auto change) {
    kernels::ColumnSums changed = s;
    change(changed);
    return [changed] { table().column_sums(changed, stream()); };
  };
  sums_with([](auto&) {})();
  check_refused(sums_with([](auto& a) { a.rows = 0; }), {"column_sums", "rows is 0", "at least 1"});
  check_refused(sums_with([](auto& a) { a.columns = -2; }), {"columns is -2"});
  check_refused(sums_with([](auto& a) { a.x = nullptr; }), {"x is null"});
  check_refused(sums_with([](auto& a) { a.y = nullptr; }), {"y is null"});
  check_refused(sums_with([](auto& a) { a.workspace = nullptr; }), {"workspace is null"});
  check_refused(sums_with([&](auto& a) { a.y = x + 31; }), {"y", "memory of x"});
  check_refused(sums_with([&](auto& a) { a.y = workspace + 7; }), {"y", "memory of workspace"});
  check_refused(sums_with([&](auto& a) { a.workspace = x + 31; }), {"workspace", "memory of x"});
}
