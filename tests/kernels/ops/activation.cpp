#include "tests/reference/activation.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;

namespace {

struct ActivationShape {
  int n, pixels, c;  // pixels of one image
};
// Channels below, at and above the 8 of a thread, by 4 and not; more than one block.
const ActivationShape shapes[] = {{1, 1, 1},   {2, 9, 3},   {3, 5, 7},    {2, 4, 8},
                                  {1, 49, 12}, {4, 25, 13}, {2, 130, 64}, {3, 100, 100}};

}  // namespace

TEST_CASE("relu_fprop and add_fprop") {
  for (const auto& [n, pixels, c] : shapes) {
    for (const bool with_b : {false, true}) {
      for (const bool relu : {false, true}) {
        for (const bool in_place : {false, true}) {
          if (!with_b && !relu) continue;  // relu_fprop always is one
          CAPTURE(n);
          CAPTURE(pixels);
          CAPTURE(c);
          CAPTURE(with_b);
          CAPTURE(relu);
          CAPTURE(in_place);
          const Floats x = random_floats(1LL * n * pixels * c, 1);
          const Floats b = with_b ? random_floats(1LL * n * pixels * c, 2) : Floats();
          const Results got = run_all_ways(n, [&, n = n, pixels = pixels, c = c](int first, int count) {
            const Input<float> device_x(x, n, first, count), device_b(b, n, first, count);
            const Output<float> y(1LL * count * pixels * c);
            const Output<std::uint8_t> mask(1LL * count * pixels * kernels::mask_pitch(c));
            float* const out = in_place ? (with_b ? device_b : device_x) : static_cast<float*>(y);
            if (with_b) {
              kernels::AddFprop a;
              a.pixels = count * pixels;
              a.c = c;
              a.a = device_x;
              a.b = device_b;
              a.relu = relu;
              a.y = out;
              if (relu) a.relu_mask = mask;
              table().add_fprop(a, stream());
            } else {
              table().relu_fprop({count * pixels, c, device_x, out, mask}, stream());
            }
            return Results{.y = in_place ? (with_b ? device_b : device_x).to_host() : y.to_host(),
                           .mask = relu ? mask.to_host() : Bytes()};
          });
          reference::Values want = reference::add(x, b);
          // A sum of two values up to 1, rounded once: half of 2^-23. Its sign is exact.
          const reference::Values sums = want;
          if (relu) reference::relu(want);
          CHECK_CLOSE(got.y, want, 6e-8, 6e-8);
          if (relu) CHECK_SAME_BITS(got.mask, reference::mask_of(sums, std::size_t(c)));
        }
      }
    }
  }
}

TEST_CASE("relu keeps NaN and infinity, and needs no mask") {
  for (const int c : {7, 4}) {  // one value at a time, and four
    Floats x = {nan_value, -1, 0, -0.0f, infinity, -infinity, 1e-40f, 2};
    x.resize(std::size_t(c));
    const Input<float> device_x(x);
    const Output<float> y(c), other(c);
    const Output<std::uint8_t> mask(1);
    table().relu_fprop({1, c, device_x, y, mask}, stream());
    table().relu_fprop({1, c, device_x, other, nullptr}, stream());
    CHECK_SAME_BITS(y.to_host(), other.to_host());
    reference::Values want(x.begin(), x.end());
    reference::relu(want);
    CHECK_CLOSE(y.to_host(), want, 0, 0);  // nothing is rounded
    CHECK(int(mask.to_host()[0]) == (c == 7 ? 0b1010000 : 0));
  }
}

TEST_CASE("relu_fprop with a ceiling") {
  for (const auto& [n, pixels, c] : shapes) {
    for (const bool in_place : {false, true}) {
      CAPTURE(n);
      CAPTURE(pixels);
      CAPTURE(c);
      CAPTURE(in_place);
      Floats x = random_floats(1LL * n * pixels * c, 1, -12, 12);
      for (std::size_t i = 0; i < x.size(); i += 5) x[i] = i % 2 ? 6.0f : 0.0f;
      const Results got = run_all_ways(n, [&, n = n, pixels = pixels, c = c](int first, int count) {
        const Input<float> device_x(x, n, first, count);
        const Output<float> y(1LL * count * pixels * c);
        const Output<std::uint8_t> mask(1LL * count * pixels * kernels::mask_pitch(c));
        float* const out = in_place ? device_x : static_cast<float*>(y);
        table().relu_fprop({count * pixels, c, device_x, out, mask, 6}, stream());
        return Results{.y = in_place ? device_x.to_host() : y.to_host(), .mask = mask.to_host()};
      });
      reference::Values want, inside;
      for (const float v : x) {
        want.push_back(std::clamp(double(v), 0.0, 6.0));
        inside.push_back(v > 0 && v < 6 ? 1 : 0);
      }
      CHECK_CLOSE(got.y, want, 0, 0);  // nothing is rounded
      CHECK_SAME_BITS(got.mask, reference::mask_of(inside, std::size_t(c)));
    }
  }
}

TEST_CASE("a ceiling keeps NaN, caps infinity, and has no gradient itself") {
  for (const int c : {7, 8}) {  // one value at a time, and four
    Floats x = {nan_value, infinity, 6, 5.9999995f, 6.0000005f, 0, 1e-40f, -infinity};
    x.resize(std::size_t(c));
    const Input<float> device_x(x);
    const Output<float> y(c);
    const Output<std::uint8_t> mask(1);
    table().relu_fprop({1, c, device_x, y, mask, 6}, stream());
    Floats want = {nan_value, 6, 6, 5.9999995f, 6, 0, 1e-40f, 0};
    want.resize(std::size_t(c));
    CHECK_CLOSE(y.to_host(), want, 0, 0);
    CHECK(int(mask.to_host()[0]) == 0b1001000);
  }
}

TEST_CASE("relu_backward") {
  for (const auto& [n, pixels, c] : shapes) {
    for (const bool with_pending : {false, true}) {
      for (const bool in_place : {false, true}) {
        CAPTURE(n);
        CAPTURE(pixels);
        CAPTURE(c);
        CAPTURE(with_pending);
        CAPTURE(in_place);
        Floats dy = random_floats(1LL * n * pixels * c, 1);
        const Floats pending = with_pending ? random_floats(1LL * n * pixels * c, 2) : Floats();
        const Bytes mask = random_mask(1LL * n * pixels, c, 3);
        // A masked NaN must not come through.
        if (!reference::bit(mask, 0, 0, std::size_t(c))) dy[0] = nan_value;
        const Results got = run_all_ways(n, [&, n = n, pixels = pixels, c = c](int first, int count) {
          const Input<float> device_dy(dy, n, first, count), device_pending(pending, n, first, count);
          const Input<std::uint8_t> device_mask(mask, n, first, count);
          const Output<float> dx(1LL * count * pixels * c);
          kernels::ReluBackward a;
          a.pixels = count * pixels;
          a.c = c;
          a.dy = device_dy;
          a.epilogue = {device_pending, device_mask};
          a.dx = in_place ? static_cast<float*>(device_dy) : static_cast<float*>(dx);
          table().relu_backward(a, stream());
          return Results{.y = in_place ? device_dy.to_host() : dx.to_host()};
        });
        reference::Values want(dy.begin(), dy.end());
        reference::finish(want, pending, mask, std::size_t(c));
        CHECK_CLOSE(got.y, want, 6e-8, 6e-8);  // one sum of values up to 1
      }
    }
  }
}

TEST_CASE("activation launchers refuse what they cannot work on") {
  const Output<float> x(64), y(64);
  const Output<std::uint8_t> mask(64);
  float* const px = x;
  float* const py = y;
  check_refused(
      [&] {
        table().relu_fprop({0, 4, px, py, nullptr}, stream());
      },
      {"relu_fprop", "pixels is 0"});
  check_refused([&] { table().relu_fprop({1, 0, px, py, nullptr}, stream()); }, {"c is 0"});
  check_refused([&] { table().relu_fprop({1, 4, nullptr, py, nullptr}, stream()); }, {"x is null"});
  check_refused([&] { table().relu_fprop({1, 4, px, nullptr, nullptr}, stream()); }, {"y is null"});
  check_refused(
      [&] {
        table().relu_fprop({1, 4, px, py, nullptr, 0}, stream());
      },
      {"ceiling is 0", "more than 0"});
  check_refused(
      [&] {
        table().relu_fprop({1, 4, px, py, nullptr, nan_value}, stream());
      },
      {"ceiling is nan"});
  check_refused([&] { table().relu_fprop({2, 4, px, px + 4, nullptr}, stream()); }, {"y", "memory of x"});
  check_refused(
      [&] {
        table().add_fprop({1, 4, px, nullptr, false, py, nullptr}, stream());
      },
      {"add_fprop", "b is null"});
  check_refused(
      [&] {
        table().add_fprop({1, 4, px, px, false, py, mask}, stream());
      },
      {"relu_mask", "without relu"});
  check_refused(
      [&] {
        table().relu_backward({1, 4, px, {}, py}, stream());
      },
      {"relu_backward", "epilogue.mask is null"});
  check_refused(
      [&] {
        table().relu_backward({1, 4, nullptr, {nullptr, mask}, py}, stream());
      },
      {"dy is null"});
  check_refused(
      [&] {
        table().relu_backward({1, 4, px, {py + 1, mask}, py}, stream());
      },
      {"dx", "epilogue.pending"});
}
