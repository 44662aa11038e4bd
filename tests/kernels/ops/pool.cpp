#include "tests/reference/pool.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using kernels::PoolShape;

namespace {

// n h w c, r s, stride, pad, ceil_mode
const PoolShape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, false},     {2, 8, 8, 4, 2, 2, 2, 2, 0, 0, false},
    {3, 7, 9, 5, 3, 3, 2, 2, 1, 1, false},     {4, 13, 6, 12, 3, 3, 2, 2, 0, 0, true},
    {1, 112, 20, 64, 3, 3, 2, 2, 1, 1, false}, {2, 5, 6, 3, 3, 2, 1, 3, 1, 0, false},
    {1, 6, 5, 8, 2, 4, 3, 1, 1, 2, true},      {2, 4, 4, 7, 2, 2, 3, 3, 1, 1, true},
    {1, 2, 2, 4, 3, 3, 2, 2, 0, 0, true},      {1, 9, 9, 100, 5, 5, 2, 2, 2, 2, false},
    {2, 3, 3, 9, 3, 3, 3, 3, 1, 1, true},
};
struct Epilogue {
  bool pending, mask, in_place;
};
const Epilogue epilogues[] = {{false, false, false}, {true, true, false}, {true, true, true}};

std::string describe(const PoolShape& s) {
  std::string text;
  for (const int v :
       {s.n, s.h, s.w, s.c, s.r, s.s, s.stride_h, s.stride_w, s.pad_h, s.pad_w, int(s.ceil_mode)}) {
    text += std::to_string(v) + " ";
  }
  return text;
}
PoolShape images(PoolShape s, int count) {
  s.n = count;
  return s;
}
// Few different values, so that windows have ties.
Floats tied_floats(std::size_t count, unsigned seed) {
  Floats x = random_floats(std::ptrdiff_t(count), seed, -3, 3);
  for (float& v : x) v = std::round(v);
  return x;
}

// A backward launcher on every image, with the epilogue: `fill` sets what is not shared.
template <class Arguments, class Fill>
Results run_backward(const PoolShape& s, const Floats& pending, const Bytes& mask, bool in_place, int first,
                     int count, void (*launcher)(const Arguments&, Stream), Fill fill) {
  const Input<float> device_pending(pending, s.n, first, count);
  const Input<std::uint8_t> device_mask(mask, s.n, first, count);
  const Output<float> dx(std::ptrdiff_t(reference::input_size(images(s, count))));
  Arguments a;
  fill(a);
  a.epilogue = {device_pending, device_mask};
  a.dx = in_place ? static_cast<float*>(device_pending) : static_cast<float*>(dx);
  launcher(a, stream());
  return Results{.y = in_place ? device_pending.to_host() : dx.to_host()};
}

}  // namespace

TEST_CASE("output sizes are PyTorch's") {
  const auto outputs = [](int size, int window, int stride, int pad, bool ceil_mode) {
    return PoolShape{1, size, size, 1, window, window, stride, stride, pad, pad, ceil_mode}.p();
  };
  CHECK(outputs(112, 3, 2, 1, false) == 56);
  CHECK(outputs(112, 3, 2, 1, true) == 57);
  CHECK(outputs(13, 3, 2, 0, false) == 6);
  CHECK(outputs(54, 3, 2, 0, true) == 27);
  CHECK(outputs(109, 3, 2, 0, true) == 54);
  CHECK(outputs(4, 2, 3, 1, true) == 2);  // the third window would start in the right padding
  CHECK(outputs(4, 2, 3, 0, true) == 2);
  CHECK(outputs(2, 3, 2, 0, true) == 1);  // a window that reaches over the end
}

TEST_CASE("max pooling, forward and backward") {
  for (const PoolShape& s : shapes) {
    CAPTURE(describe(s));
    const Floats x = tied_floats(reference::input_size(s), 1);
    const Results got = run_all_ways(s.n, [&](int first, int count) {
      const Input<float> device_x(x, s.n, first, count);
      const auto size = std::ptrdiff_t(reference::output_size(images(s, count)));
      const Output<float> y(size);
      const Output<std::int32_t> argmax(size);
      table().max_pool_fprop({images(s, count), device_x, y, argmax}, stream());
      return Results{.y = y.to_host(), .index = argmax.to_host()};
    });
    const reference::MaxPool want = reference::max_pool(s, x);
    CHECK_CLOSE(got.y, want.y, 0, 0);  // values are chosen, not computed
    CHECK_SAME_BITS(got.index, want.argmax);

    const Floats dy = random_floats(std::ptrdiff_t(reference::output_size(s)), 2);
    for (const Epilogue& e : epilogues) {
      const Floats pending = e.pending ? random_floats(std::ptrdiff_t(x.size()), 3) : Floats();
      const Bytes mask = e.mask ? random_mask(1LL * s.n * s.h * s.w, s.c, 4) : Bytes();
      const Results dx = run_all_ways(s.n, [&](int first, int count) {
        const Input<float> device_dy(dy, s.n, first, count);
        const Input<std::int32_t> argmax(want.argmax, s.n, first, count);
        return run_backward<kernels::MaxPoolBackward>(s, pending, mask, e.in_place, first, count,
                                                      table().max_pool_backward, [&](auto& a) {
                                                        a.shape = images(s, count);
                                                        a.dy = device_dy;
                                                        a.argmax = argmax;
                                                      });
      });
      reference::Values want_dx = reference::max_pool_backward(s, dy, want.argmax);
      reference::finish(want_dx, pending, mask, std::size_t(s.c));
      // At most 9 windows hold one input; sums of values up to 1 round by 2^-24 of at most 10, 10 times.
      CHECK_CLOSE(dx.y, want_dx, 6e-6, 2e-7);
    }
  }
}

TEST_CASE("max pooling without argmax gives the same values") {
  const PoolShape s = shapes[2];
  const Input<float> x(tied_floats(reference::input_size(s), 1));
  const auto size = std::ptrdiff_t(reference::output_size(s));
  const Output<float> y(size), other(size);
  const Output<std::int32_t> argmax(size);
  table().max_pool_fprop({s, x, y, argmax}, stream());
  table().max_pool_fprop({s, x, other, nullptr}, stream());
  CHECK_SAME_BITS(y.to_host(), other.to_host());
}

TEST_CASE("max pooling lets NaN win, and a window of nothing but -infinity") {
  for (const int c : {1, 4}) {
    const PoolShape s{1, 2, 4, c, 2, 2, 2, 2, 0, 0, false};
    Floats x(std::size_t(8 * c), 1.0f);
    for (int ch = 0; ch < c; ++ch) {
      const auto at = [&](int h, int w) -> float& { return x[std::size_t((h * 4 + w) * c + ch)]; };
      at(0, 1) = nan_value;
      at(1, 0) = 5;
      at(0, 2) = at(0, 3) = at(1, 2) = at(1, 3) = -infinity;
    }
    const Input<float> device_x(x);
    const Output<float> y(2 * c);
    const Output<std::int32_t> argmax(2 * c);
    table().max_pool_fprop({s, device_x, y, argmax}, stream());
    for (int ch = 0; ch < c; ++ch) {
      CHECK(std::isnan(y.to_host()[std::size_t(ch)]));
      CHECK(argmax.to_host()[std::size_t(ch)] == 1);
      CHECK(y.to_host()[std::size_t(c + ch)] == -infinity);
      CHECK(argmax.to_host()[std::size_t(c + ch)] == 2);
    }
  }
}

TEST_CASE("average pooling, forward and backward") {
  for (const PoolShape& s : shapes) {
    for (const bool count_include_pad : {true, false}) {
      CAPTURE(describe(s));
      CAPTURE(count_include_pad);
      const Floats x = random_floats(std::ptrdiff_t(reference::input_size(s)), 1);
      const Results got = run_all_ways(s.n, [&](int first, int count) {
        const Input<float> device_x(x, s.n, first, count);
        const Output<float> y(std::ptrdiff_t(reference::output_size(images(s, count))));
        table().avg_pool_fprop({images(s, count), count_include_pad, device_x, y}, stream());
        return Results{.y = y.to_host()};
      });
      // A sum of at most 25 values up to 1, each step rounded by 2^-24 of at most 25, divided again by their
      // number.
      CHECK_CLOSE(got.y, reference::avg_pool(s, count_include_pad, x), 2e-6, 3e-7);

      const Floats dy = random_floats(std::ptrdiff_t(reference::output_size(s)), 2);
      for (const Epilogue& e : epilogues) {
        const Floats pending = e.pending ? random_floats(std::ptrdiff_t(x.size()), 3) : Floats();
        const Bytes mask = e.mask ? random_mask(1LL * s.n * s.h * s.w, s.c, 4) : Bytes();
        const Results dx = run_all_ways(s.n, [&](int first, int count) {
          const Input<float> device_dy(dy, s.n, first, count);
          return run_backward<kernels::AvgPoolBackward>(s, pending, mask, e.in_place, first, count,
                                                        table().avg_pool_backward, [&](auto& a) {
                                                          a.shape = images(s, count);
                                                          a.count_include_pad = count_include_pad;
                                                          a.dy = device_dy;
                                                        });
        });
        reference::Values want = reference::avg_pool_backward(s, count_include_pad, dy);
        reference::finish(want, pending, mask, std::size_t(s.c));
        CHECK_CLOSE(dx.y, want, 2e-6, 3e-7);  // as above
      }
    }
  }
}

TEST_CASE("global average pooling, forward and backward") {
  // One warp up to 64 pixels, eight above; channel tails of 32 and of 4.
  struct {
    int n, h, w, c;
  } const images_[] = {{1, 1, 1, 1},   {2, 7, 7, 33},    {3, 8, 8, 64},
                       {4, 5, 13, 10}, {2, 15, 17, 100}, {1, 56, 56, 8}};
  for (const auto& [n, h, w, c] : images_) {
    CAPTURE(n);
    CAPTURE(h);
    CAPTURE(w);
    CAPTURE(c);
    PoolShape whole;  // the same as one window of the image's size
    whole.n = n;
    whole.h = whole.r = h;
    whole.w = whole.s = w;
    whole.c = c;
    const Floats x = random_floats(1LL * n * h * w * c, 1);
    const Results got = run_all_ways(n, [&, n = n, h = h, w = w, c = c](int first, int count) {
      const Input<float> device_x(x, n, first, count);
      const Output<float> y(1LL * count * c);
      table().global_avg_pool_fprop({count, h, w, c, device_x, y}, stream());
      return Results{.y = y.to_host()};
    });
    // Up to 392 additions by one thread to sums that stay below 40, divided by 3136: 2^-24 · 40 · 392 / 3136.
    // The mean itself is near 0, so the relative measure is coarser.
    CHECK_CLOSE(got.y, reference::avg_pool(whole, true, x), 4e-7, 2e-6);

    const Floats dy = random_floats(1LL * n * c, 2);
    for (const Epilogue& e : epilogues) {
      const Floats pending = e.pending ? random_floats(std::ptrdiff_t(x.size()), 3) : Floats();
      const Bytes mask = e.mask ? random_mask(1LL * n * h * w, c, 4) : Bytes();
      const Results dx = run_all_ways(n, [&, n = n, h = h, w = w, c = c](int first, int count) {
        const Input<float> device_dy(dy, n, first, count);
        return run_backward<kernels::GlobalAvgPoolBackward>(whole, pending, mask, e.in_place, first, count,
                                                            table().global_avg_pool_backward, [&](auto& a) {
                                                              a.n = count;
                                                              a.h = h;
                                                              a.w = w;
                                                              a.c = c;
                                                              a.dy = device_dy;
                                                            });
      });
      reference::Values want = reference::avg_pool_backward(whole, true, dy);
      reference::finish(want, pending, mask, std::size_t(c));
      CHECK_CLOSE(dx.y, want, 2.5e-7, 2e-7);  // a reciprocal, a product and a sum of values up to 2
    }
  }
}

TEST_CASE("pooling refuses what makes no sense") {
  const PoolShape good{1, 4, 4, 2, 2, 2, 2, 2, 0, 0, false};
  const auto shape = [&](auto change) {
    PoolShape s = good;
    change(s);
    return [s] { s.validate(); };
  };
  shape([](auto&) {})();
  check_refused(shape([](auto& s) { s.n = 0; }), {"pool", "n is 0"});
  check_refused(shape([](auto& s) { s.c = -1; }), {"c is -1"});
  check_refused(shape([](auto& s) { s.stride_w = 0; }), {"stride_w is 0"});
  check_refused(shape([](auto& s) { s.pad_h = 2; }), {"pad_h is 2", "half the window of 2"});
  check_refused(shape([](auto& s) { s.pad_w = -1; }), {"pad_w is -1"});
  check_refused(shape([](auto& s) { s.r = 5; }), {"window along h is 5", "padded input of 4"});
  check_refused(shape([](auto& s) { s.s = 9, s.ceil_mode = true; }), {"window along w is 9"});
  check_refused(shape([](auto& s) { s.h = s.w = 1 << 17; }), {"h x w"});

  const Output<float> x(64), y(64);
  const Output<std::int32_t> argmax(64);
  const float* const px = x;
  float* const py = y;
  const std::int32_t* const pa = argmax;
  check_refused(
      [&] {
        table().max_pool_fprop({good, nullptr, y, argmax}, stream());
      },
      {"max_pool_fprop", "x is null"});
  check_refused([&] { table().max_pool_fprop({good, px, nullptr, argmax}, stream()); }, {"y is null"});
  check_refused([&] { table().max_pool_fprop({good, py, py + 3, argmax}, stream()); }, {"y", "memory of x"});
  check_refused([&] { table().max_pool_backward({good, nullptr, pa, {}, py}, stream()); }, {"dy is null"});
  check_refused(
      [&] {
        table().max_pool_backward({good, px, nullptr, {}, py}, stream());
      },
      {"argmax is null"});
  check_refused([&] { table().max_pool_backward({good, px, pa, {}, nullptr}, stream()); }, {"dx is null"});
  check_refused([&] { table().max_pool_backward({good, py, pa, {}, py}, stream()); }, {"dx", "memory of dy"});
  check_refused(
      [&] {
        table().avg_pool_fprop({good, true, px, nullptr}, stream());
      },
      {"avg_pool_fprop", "y is null"});
  check_refused([&] { table().avg_pool_backward({good, true, nullptr, {}, py}, stream()); }, {"dy is null"});
  check_refused(
      [&] {
        table().avg_pool_backward({good, true, px, {py + 1, nullptr}, py}, stream());
      },
      {"dx", "epilogue.pending"});
  check_refused(
      [&] {
        table().global_avg_pool_fprop({1, 0, 1, 1, px, py}, stream());
      },
      {"global_avg_pool_fprop", "h is 0"});
  check_refused(
      [&] {
        table().global_avg_pool_backward({1, 1, 1, 1, px, {}, nullptr}, stream());
      },
      {"dx is null"});
}
