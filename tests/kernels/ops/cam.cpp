#include "tests/reference/cam.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

struct CamShape {
  int n, h, w, c;
};
// Tails of the 8 pixels of a warp, of the 32 of a block and of the 32 lanes.
const CamShape shapes[] = {{1, 1, 1, 1}, {2, 7, 7, 512}, {3, 3, 5, 33}, {4, 8, 8, 64}, {2, 9, 10, 7}};

}  // namespace

TEST_CASE("grad_cam_weights and cam_combine") {
  for (const auto& [n, h, w, c] : shapes) {
    CAPTURE(n);
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(c);
    const long long each = 1LL * h * w * c;
    const auto un = std::size_t(n), pixels = std::size_t(h * w), uc = std::size_t(c);
    const Floats gradient = random_floats(n * each, 1), activations = random_floats(n * each, 2, 0, 1);
    const Results weights = run_all_ways(n, [&, n = n, h = h, w = w, c = c](int first, int count) {
      const Input<float> device_gradient(gradient, n, first, count);
      const Output<float> out(1LL * count * c);
      table().grad_cam_weights({count, h, w, c, device_gradient, out}, stream());
      return Results{.y = out.to_host()};
    });
    // At most 64 additions to sums below 20, then a division by as many: 2^-24 · 20.
    CHECK_CLOSE(weights.y, reference::spatial_mean(un, pixels, uc, gradient), 1.2e-6, 1e-6);

    const Floats random_weights = random_floats(1LL * n * c, 3);
    for (const bool relu : {false, true}) {
      CAPTURE(relu);
      const Results cam = run_all_ways(n, [&, n = n, h = h, w = w, c = c](int first, int count) {
        const Input<float> device_weights(random_weights, n, first, count);
        const Input<float> device_activations(activations, n, first, count);
        const Output<float> map(1LL * count * h * w);
        table().cam_combine({count, h, w, c, device_weights, device_activations, relu, map}, stream());
        return Results{.y = map.to_host()};
      });
      // 512 products below 1: 16 additions per lane and 5 between lanes, of sums below 60.
      CHECK_CLOSE(cam.y, reference::cam(un, pixels, uc, random_weights, activations, relu), 8e-5, 1e-6);
    }
  }
}

TEST_CASE("upsample_bilinear") {
  struct {
    int n, h, w, out_h, out_w;
  } const sizes[] = {{1, 1, 1, 1, 1}, {2, 7, 7, 224, 224}, {3, 4, 5, 8, 15},    {1, 1, 3, 5, 300},
                     {4, 6, 6, 6, 6}, {2, 9, 8, 4, 3},     {1, 13, 11, 29, 300}};
  for (const auto& [n, h, w, out_h, out_w] : sizes) {
    CAPTURE(n);
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(out_h);
    CAPTURE(out_w);
    const Floats x = random_floats(1LL * n * h * w, 1);
    const Results got =
        run_all_ways(n, [&, n = n, h = h, w = w, out_h = out_h, out_w = out_w](int first, int count) {
          const Input<float> device_x(x, n, first, count);
          const Output<float> y(1LL * count * out_h * out_w);
          table().upsample_bilinear({count, h, w, out_h, out_w, device_x, y}, stream());
          return Results{.y = y.to_host()};
        });
    // Positions up to 13 in float are off by 3 · 2^-24 · 13, times the difference of two neighbours (2),
    // twice.
    CHECK_CLOSE(got.y, reference::bilinear(n, h, w, out_h, out_w, x), 1e-5, 2e-6);
  }
}

TEST_CASE("Grad-CAM launchers refuse what they cannot work on") {
  const Output<float> x(64), y(64);
  float* const px = x;
  float* const py = y;
  check_refused(
      [&] {
        table().grad_cam_weights({1, 2, 2, 0, px, py}, stream());
      },
      {"grad_cam_weights", "c is 0"});
  check_refused([&] { table().grad_cam_weights({1, 2, 2, 2, nullptr, py}, stream()); }, {"gradient is null"});
  check_refused(
      [&] {
        table().grad_cam_weights({1, 2, 2, 2, px, px + 2}, stream());
      },
      {"weights", "memory of gradient"});
  check_refused(
      [&] {
        table().cam_combine({1, 0, 2, 2, px, px, true, py}, stream());
      },
      {"cam_combine", "h is 0"});
  check_refused([&] { table().cam_combine({1, 2, 2, 2, px, px, true, nullptr}, stream()); }, {"cam is null"});
  check_refused(
      [&] {
        table().cam_combine({1, 2, 2, 2, py, px, true, py}, stream());
      },
      {"cam", "memory of weights"});
  check_refused(
      [&] {
        table().upsample_bilinear({1, 2, 2, 0, 4, px, py}, stream());
      },
      {"upsample_bilinear", "out_h is 0"});
  check_refused([&] { table().upsample_bilinear({1, 2, 2, 4, 4, px, px}, stream()); }, {"y", "memory of x"});
}
