#include "tests/reference/shortcut.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

struct ShortcutShape {
  int n, h, w, c, k, stride;
};
const ShortcutShape shapes[] = {{1, 1, 1, 1, 1, 1},  {2, 8, 8, 16, 32, 2}, {3, 7, 5, 3, 8, 2},
                                {4, 9, 10, 5, 5, 3}, {1, 6, 6, 4, 9, 1},   {2, 32, 33, 16, 32, 2}};

}  // namespace

TEST_CASE("option-A shortcut, forward and backward") {
  for (const auto& [n, h, w, c, k, stride] : shapes) {
    CAPTURE(n);
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(c);
    CAPTURE(k);
    CAPTURE(stride);
    const int p = (h + stride - 1) / stride, q = (w + stride - 1) / stride;
    const Floats x = random_floats(1LL * n * h * w * c, 1), dy = random_floats(1LL * n * p * q * k, 2);
    const Results got =
        run_all_ways(n, [&, n = n, h = h, w = w, c = c, k = k, stride = stride](int first, int count) {
          const Input<float> device_x(x, n, first, count);
          const Output<float> y(1LL * count * p * q * k);
          table().shortcut_fprop({count, h, w, c, k, stride, device_x, y}, test::stream());
          return Results{.y = y.to_host()};
        });
    reference::Values want_y(dy.size(), 0), want_dx(x.size(), 0);
    reference::for_each_shortcut(n, h, w, c, k, stride, [&](std::size_t out, std::size_t in) {
      want_y[out] = x[in];
      want_dx[in] = dy[out];
    });
    CHECK_CLOSE(got.y, want_y, 0, 0);  // values are copied

    for (const bool epilogue : {false, true}) {
      for (const bool in_place : {false, true}) {
        if (in_place && !epilogue) continue;
        CAPTURE(epilogue);
        CAPTURE(in_place);
        const Floats pending = epilogue ? random_floats(std::ptrdiff_t(x.size()), 3) : Floats();
        const Bytes mask = epilogue ? random_mask(1LL * n * h * w, c, 4) : Bytes();
        const Results dx =
            run_all_ways(n, [&, n = n, h = h, w = w, c = c, k = k, stride = stride](int first, int count) {
              const Input<float> device_dy(dy, n, first, count), device_pending(pending, n, first, count);
              const Input<std::uint8_t> device_mask(mask, n, first, count);
              const Output<float> out(1LL * count * h * w * c);
              float* const to = in_place ? device_pending : static_cast<float*>(out);
              table().shortcut_backward(
                  {count, h, w, c, k, stride, device_dy, {device_pending, device_mask}, to}, test::stream());
              return Results{.y = in_place ? device_pending.to_host() : out.to_host()};
            });
        reference::Values want = want_dx;
        reference::finish(want, pending, mask, std::size_t(c));
        CHECK_CLOSE(dx.y, want, 6e-8, 6e-8);  // one sum of values up to 1
      }
    }
  }
}

TEST_CASE("shortcut launchers refuse what they cannot work on") {
  const Output<float> x(64), y(64);
  float* const px = x;
  float* const py = y;
  check_refused(
      [&] {
        table().shortcut_fprop({1, 4, 4, 2, 1, 2, px, py}, test::stream());
      },
      {"shortcut_fprop", "k is 1", "at least c = 2"});
  check_refused([&] { table().shortcut_fprop({1, 4, 4, 2, 4, 0, px, py}, test::stream()); }, {"stride is 0"});
  check_refused(
      [&] {
        table().shortcut_fprop({1, 4, 4, 2, 4, 2, nullptr, py}, test::stream());
      },
      {"x is null"});
  check_refused(
      [&] {
        table().shortcut_fprop({1, 4, 4, 2, 4, 2, px, px}, test::stream());
      },
      {"y", "memory of x"});
  check_refused(
      [&] {
        table().shortcut_backward({1, 4, 4, 2, 4, 2, nullptr, {}, py}, test::stream());
      },
      {"shortcut_backward", "dy is null"});
  check_refused(
      [&] {
        table().shortcut_backward({1, 4, 4, 2, 4, 2, px, {}, px}, test::stream());
      },
      {"dx", "memory of dy"});
}
