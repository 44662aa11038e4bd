#include <functional>

#include "tests/kernels/ops/support.h"
#include "tests/reference/signal.h"

using namespace retrace;
using namespace retrace::test;

namespace {

// Below, at and above one thread's group (4) and one block (4096).
const int counts[] = {1, 3, 4, 5, 1000, 4095, 4096, 4097, 10000};

// Runs `call(x, y, out)` on arrays of every count, aligned and one float off; out apart, in x and in y.
void check_elementwise(bool may_be_y,
                       const std::function<void(long long, const float*, const float*, float*)>& call,
                       const std::function<double(double, double)>& want_of, double tolerance) {
  for (const int count : counts) {
    for (const int offset : {0, 1}) {
      for (int where = 0; where < (may_be_y ? 3 : 2); ++where) {
        CAPTURE(count);
        CAPTURE(offset);
        CAPTURE(where);
        const Floats x = random_floats(count + offset, 1), y = random_floats(count + offset, 2);
        const Results got = run_all_ways(1, [&](int, int) {
          const Input<float> device_x(x), device_y(y);
          const Output<float> out(count + offset);
          float* const to = where == 0 ? out : where == 1 ? static_cast<float*>(device_x) : device_y;
          call(count, device_x + offset, device_y + offset, to + offset);
          Floats values = where == 0 ? out.to_host() : where == 1 ? device_x.to_host() : device_y.to_host();
          // What lies before the array must be as it was.
          if (offset && where == 1) CHECK(values[0] == x[0]);
          return Results{.y = Floats(values.begin() + offset, values.end())};
        });
        reference::Values want;
        for (std::size_t i = std::size_t(offset); i < x.size(); ++i) want.push_back(want_of(x[i], y[i]));
        CHECK_CLOSE(got.y, want, tolerance, tolerance);
      }
    }
  }
}

}  // namespace

TEST_CASE("fill") {
  check_elementwise(
      true,
      [](long long count, const float*, const float*, float* out) {
        table().fill({count, 2.5f, out}, stream());
      },
      [](double, double) { return 2.5; }, 0);  // nothing is rounded
}

TEST_CASE("combine") {
  // Two products and a sum of values up to 3, each rounded by at most 2^-23 of it or less.
  check_elementwise(
      true,
      [](long long count, const float* x, const float* y, float* out) {
        table().combine({count, 2.5f, -0.3f, x, y, out}, stream());
      },
      [](double x, double y) { return 2.5 * x + double(-0.3f) * y; }, 4e-7);
  check_elementwise(
      false,
      [](long long count, const float* x, const float*, float* out) {
        table().combine({count, 2.5f, nan_value, x, nullptr, out}, stream());
      },
      [](double x, double) { return 2.5 * x; }, 2e-7);
}

TEST_CASE("multiply") {
  check_elementwise(
      true,
      [](long long count, const float* x, const float* y, float* out) {
        table().multiply({count, x, y, out}, stream());
      },
      [](double x, double y) { return x * y; }, 6e-8);  // one rounding of values up to 1
}

TEST_CASE("weight_part") {
  struct {
    float all, positive, negative;
  } const parts[] = {{1, 0.25f, 0}, {0, 1, -1}, {0, 0, 1}, {1, 0, 0.25f}, {0, 1, 0}};
  for (const auto& p : parts) {
    CAPTURE(p.all);
    CAPTURE(p.positive);
    CAPTURE(p.negative);
    check_elementwise(
        false,
        [&](long long count, const float* w, const float*, float* out) {
          table().weight_part({count, w, p.all, p.positive, p.negative, out}, stream());
        },
        [&](double w, double) {
          return double(p.all) * w + double(p.positive) * std::max(w, 0.0) +
                 double(p.negative) * std::min(w, 0.0);
        },
        2e-7);  // two roundings of values up to 1.25
  }
}

TEST_CASE("seed_targets") {
  struct {
    int rows, columns;
  } const sizes[] = {{1, 1}, {3, 10}, {4, 1000}, {2, 1024}, {3, 2500}};
  for (const auto& [rows, columns] : sizes) {
    for (const bool with_values : {false, true}) {
      CAPTURE(rows);
      CAPTURE(columns);
      CAPTURE(with_values);
      // One row at the last column, one out of range on each side, one in the middle.
      const Ints all = {columns - 1, columns, -1, columns / 2};
      const Ints targets(all.begin(), all.begin() + rows);
      Floats values = with_values ? random_floats(1LL * rows * columns, 1) : Floats();
      reference::Values want(std::size_t(rows) * std::size_t(columns), 0);
      for (int row = 0; row < rows; ++row) {
        const int target = targets[std::size_t(row)];
        if (target < 0 || target >= columns) continue;
        const auto at = std::size_t(row) * std::size_t(columns) + std::size_t(target);
        want[at] = with_values ? double(values[at]) : 1;
      }
      const Results got = run_all_ways(rows, [&, rows = rows, columns = columns](int first, int count) {
        const Input<std::int32_t> device_targets(targets, rows, first, count);
        const Input<float> device_values(values, rows, first, count);
        const Output<float> y(1LL * count * columns);
        table().seed_targets({count, columns, device_targets, device_values, y}, stream());
        return Results{.y = y.to_host()};
      });
      CHECK_CLOSE(got.y, want, 0, 0);  // values are copied
    }
  }
}

TEST_CASE("elementwise launchers refuse what they cannot work on, and do nothing for nothing") {
  const Output<float> x(64), y(64);
  const Output<std::int32_t> targets(4);
  float* const px = x;
  float* const py = y;
  table().fill({0, 1, nullptr}, stream());
  table().combine({0, 1, 1, nullptr, nullptr, nullptr}, stream());
  check_refused([&] { table().fill({-1, 1, py}, stream()); }, {"fill", "count is -1"});
  check_refused([&] { table().fill({1LL << 50, 1, py}, stream()); }, {"more than 2^38 elements"});
  check_refused([&] { table().fill({1, 1, nullptr}, stream()); }, {"y is null"});
  check_refused([&] { table().combine({1, 1, 1, nullptr, px, py}, stream()); }, {"combine", "x is null"});
  check_refused([&] { table().combine({8, 1, 1, px, px, px + 4}, stream()); }, {"out", "memory of x"});
  check_refused([&] { table().multiply({8, px, nullptr, py}, stream()); }, {"multiply", "y is null"});
  check_refused([&] { table().multiply({8, px, py, py + 7}, stream()); }, {"out", "memory of y"});
  check_refused(
      [&] {
        table().weight_part({8, nullptr, 1, 0, 0, py}, stream());
      },
      {"weight_part", "w is null"});
  check_refused(
      [&] {
        table().seed_targets({0, 4, targets, nullptr, py}, stream());
      },
      {"seed_targets", "rows is 0"});
  check_refused([&] { table().seed_targets({4, 4, nullptr, nullptr, py}, stream()); }, {"targets is null"});
  check_refused([&] { table().seed_targets({4, 4, targets, py, py}, stream()); }, {"y", "memory of values"});
}
