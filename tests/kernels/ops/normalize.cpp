#include "tests/kernels/ops/support.h"
#include "tests/reference/signal.h"

using namespace retrace;
using namespace retrace::test;

TEST_CASE("normalize_u8") {
  const float mean[4] = {0.485f, 0.456f, 0.406f, 0.5f}, deviation[4] = {0.229f, 0.224f, 0.225f, 1};
  struct {
    int n, h, w, c;
  } const shapes[] = {{1, 1, 1, 1}, {2, 3, 5, 3}, {3, 7, 7, 2}, {1, 40, 41, 4}, {4, 30, 37, 3}};
  for (const auto& [n, h, w, c] : shapes) {
    CAPTURE(n);
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(c);
    const Bytes pixels = random_bytes(1LL * n * h * w * c, 1);
    const Results got = run_all_ways(n, [&, n = n, h = h, w = w, c = c](int first, int count) {
      const Input<std::uint8_t> device_pixels(pixels, n, first, count);
      const Output<float> y(1LL * count * h * w * c);
      kernels::NormalizeU8 a;
      a.n = count;
      a.h = h;
      a.w = w;
      a.c = c;
      a.pixels = device_pixels;
      std::copy(mean, mean + 4, a.mean);
      std::copy(deviation, deviation + 4, a.std);
      a.y = y;
      table().normalize_u8(a, stream());
      return Results{.y = y.to_host()};
    });
    reference::Values want;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const std::size_t ch = i % std::size_t(c);
      want.push_back((pixels[i] / 255.0 - double(mean[ch])) / double(deviation[ch]));
    }
    // scale, shift, product and sum each rounded once, at values up to 4.5.
    CHECK_CLOSE(got.y, want, 1e-6, 3e-7);
  }
}

TEST_CASE("normalize_u8 takes pixels that begin at any byte") {
  const Bytes pixels = random_bytes(100, 1);
  const Input<std::uint8_t> aligned_pixels(pixels), rest(Bytes(pixels.begin() + 1, pixels.end()));
  const Output<float> y(99), want(99);
  kernels::NormalizeU8 a;
  a.w = 33;
  a.std[2] = 2;
  a.pixels = aligned_pixels + 1;
  a.y = y;
  table().normalize_u8(a, stream());
  a.pixels = rest;
  a.y = want;
  table().normalize_u8(a, stream());
  CHECK_SAME_BITS(y.to_host(), want.to_host());
}

TEST_CASE("normalize_u8 refuses what it cannot work on") {
  const Output<float> y(64);
  const Output<std::uint8_t> pixels(64);
  kernels::NormalizeU8 good;
  good.pixels = pixels;
  good.y = y;
  const auto with = [&](auto change) {
    kernels::NormalizeU8 a = good;
    change(a);
    return [a] { table().normalize_u8(a, stream()); };
  };
  with([](auto&) {})();
  check_refused(with([](auto& a) { a.c = 5; }), {"normalize_u8", "c is 5", "1 to 4"});
  check_refused(with([](auto& a) { a.w = 0; }), {"w is 0"});
  check_refused(with([](auto& a) { a.std[1] = 0; }), {"std[1] is 0", "more than 0"});
  check_refused(with([](auto& a) { a.mean[2] = nan_value; }), {"mean[2] is nan"});
  check_refused(with([](auto& a) { a.pixels = nullptr; }), {"pixels is null"});
  check_refused(with([](auto& a) { a.y = nullptr; }), {"y is null"});
}
