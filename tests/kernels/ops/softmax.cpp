#include "tests/reference/softmax.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

TEST_CASE("softmax and log softmax, forward and backward") {
  struct {
    int rows, columns;
  } const sizes[] = {{1, 1}, {2, 10}, {3, 31}, {4, 33}, {5, 1000}, {9, 64}};
  for (const auto& [rows, columns] : sizes) {
    for (const bool log : {false, true}) {
      for (const bool in_place : {false, true}) {
        CAPTURE(rows);
        CAPTURE(columns);
        CAPTURE(log);
        CAPTURE(in_place);
        // Far from 0 for one sign of overflow each: without the maximum subtracted exp would not be finite.
        const Floats x = random_floats(1LL * rows * columns, 1, rows % 2 ? 90 : -120, rows % 2 ? 100 : -110);
        const Results got = run_all_ways(rows, [&, rows = rows, columns = columns](int first, int count) {
          const Input<float> device_x(x, rows, first, count);
          const Output<float> y(1LL * count * columns);
          table().softmax_fprop({count, columns, log, device_x, in_place ? device_x : static_cast<float*>(y)},
                                stream());
          return Results{.y = in_place ? device_x.to_host() : y.to_host()};
        });
        // exp is good to 2 units of 2^-23 and its argument is exact up to a rounding of at most 10 · 2^-24;
        // log values up to 17.
        CHECK_CLOSE(got.y, reference::softmax(std::size_t(columns), log, x), log ? 4e-6 : 1.5e-6, 1.5e-6);

        const Floats& y = got.y;
        const Floats dy = random_floats(1LL * rows * columns, 2);
        const Results dx = run_all_ways(rows, [&, rows = rows, columns = columns](int first, int count) {
          const Input<float> device_y(y, rows, first, count), device_dy(dy, rows, first, count);
          const Output<float> out(1LL * count * columns);
          float* const to = in_place ? device_dy : static_cast<float*>(out);
          table().softmax_backward({count, columns, log, device_y, device_dy, to}, stream());
          return Results{.y = in_place ? device_dy.to_host() : out.to_host()};
        });
        // Sums of up to 1000 values up to 1, 32 per lane: 37 roundings at up to 30, times a probability.
        CHECK_CLOSE(dx.y, reference::softmax_backward(std::size_t(columns), log, y, dy), 4e-6, 1e-6);
      }
    }
  }
}

TEST_CASE("softmax: a NaN fills its row, other rows stay") {
  const Floats x = {1, nan_value, 2, 1, 1, -infinity};
  const Input<float> device_x(x);
  const Output<float> y(6);
  table().softmax_fprop({2, 3, false, device_x, y}, stream());
  const reference::Values want = {nan_value, nan_value, nan_value, 0.5, 0.5, 0};
  CHECK_CLOSE(y.to_host(), want, 0, 0);  // 0.5 is exact
}

TEST_CASE("softmax launchers refuse what they cannot work on") {
  const Output<float> x(64), y(64);
  float* const px = x;
  float* const py = y;
  check_refused(
      [&] {
        table().softmax_fprop({0, 4, false, px, py}, stream());
      },
      {"softmax_fprop", "rows is 0"});
  check_refused([&] { table().softmax_fprop({1, 4, false, nullptr, py}, stream()); }, {"x is null"});
  check_refused([&] { table().softmax_fprop({2, 4, false, px, px + 4}, stream()); }, {"y", "memory of x"});
  check_refused(
      [&] {
        table().softmax_backward({1, 0, false, px, px, py}, stream());
      },
      {"softmax_backward", "columns is 0"});
  check_refused([&] { table().softmax_backward({1, 4, false, px, nullptr, py}, stream()); }, {"dy is null"});
  check_refused(
      [&] {
        table().softmax_backward({1, 4, false, py, px, py}, stream());
      },
      {"dx", "memory of y"});
}
