#include "tests/reference/adaptive_pool.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using reference::AdaptivePoolShape;

namespace {

// n h w c, p q
const AdaptivePoolShape shapes[] = {
    {1, 1, 1, 1, 1, 1},    {2, 7, 7, 8, 7, 7},     {3, 7, 5, 5, 3, 2}, {2, 2, 3, 24, 7, 7},
    {1, 13, 13, 33, 6, 6}, {2, 13, 11, 4, 1, 1},   {1, 6, 1, 3, 4, 5}, {3, 9, 4, 12, 5, 6},
    {1, 1, 17, 1, 1, 4},   {1, 14, 20, 100, 7, 7},
};

std::string describe(const AdaptivePoolShape& s) {
  std::string text;
  for (const int v : {s.n, s.h, s.w, s.c, s.p, s.q}) text += std::to_string(v) + " ";
  return text;
}
long long input_size(const AdaptivePoolShape& s, int n) {
  return 1LL * n * s.h * s.w * s.c;
}
long long output_size(const AdaptivePoolShape& s, int n) {
  return 1LL * n * s.p * s.q * s.c;
}

Floats forward(const AdaptivePoolShape& s, const Floats& x, int first, int count) {
  const Input<float> device_x(x, s.n, first, count);
  const Output<float> y(output_size(s, count));
  table().adaptive_avg_pool_fprop({count, s.h, s.w, s.c, s.p, s.q, device_x, y}, stream());
  return y.to_host();
}
Floats backward(const AdaptivePoolShape& s, const Floats& dy, const Floats& pending, const Bytes& mask,
                bool in_place, int first, int count) {
  const Input<float> device_dy(dy, s.n, first, count), device_pending(pending, s.n, first, count);
  const Input<std::uint8_t> device_mask(mask, s.n, first, count);
  const Output<float> dx(input_size(s, count));
  float* const to = in_place ? device_pending : static_cast<float*>(dx);
  table().adaptive_avg_pool_backward(
      {count, s.h, s.w, s.c, s.p, s.q, device_dy, {device_pending, device_mask}, to}, stream());
  return in_place ? device_pending.to_host() : dx.to_host();
}

}  // namespace

TEST_CASE("adaptive average pooling, forward and backward") {
  for (const AdaptivePoolShape& s : shapes) {
    CAPTURE(describe(s));
    const Floats x = random_floats(input_size(s, s.n), 1), dy = random_floats(output_size(s, s.n), 2);
    const Results y =
        run_all_ways(s.n, [&](int first, int count) { return Results{.y = forward(s, x, first, count)}; });
    // A sum of at most 143 values up to 1 that stays below 40, each step rounded by 2^-24 of that, divided by 143; the
    // mean itself is near 0, so the relative measure is coarser.
    CHECK_CLOSE(y.y, reference::adaptive_avg_pool(s, x), 2.5e-6, 1e-6);
    for (int kind = 0; kind < 3; ++kind) {  // plain; pending and mask; the same in place
      CAPTURE(kind);
      const Floats pending = kind ? random_floats(input_size(s, s.n), 3) : Floats();
      const Bytes mask = kind ? random_mask(1LL * s.n * s.h * s.w, s.c, 4) : Bytes();
      const Results dx = run_all_ways(s.n, [&](int first, int count) {
        return Results{.y = backward(s, dy, pending, mask, kind == 2, first, count)};
      });
      reference::Values want = reference::adaptive_avg_pool_backward(s, dy);
      reference::finish(want, pending, mask, std::size_t(s.c));
      // At most 16 windows of one value each hold an input: 17 sums up to 17, 2^-24 of that each.
      CHECK_CLOSE(dx.y, want, 1.7e-5, 3e-7);
    }
  }
}

TEST_CASE("adaptive windows are PyTorch's where the sizes do not divide") {
  // torch.nn.functional.adaptive_avg_pool2d of the rows 0, 1, 4, 9, 16, …, one column wide.
  struct Case {
    int h, p;
    std::vector<double> want;
  };
  const Case cases[] = {
      {7, 3, {5.0 / 3, 29.0 / 3, 77.0 / 3}},
      {2, 7, {0, 0, 0, 0.5, 1, 1, 1}},
      {13, 6, {5.0 / 3, 29.0 / 3, 77.0 / 3, 149.0 / 3, 245.0 / 3, 365.0 / 3}},
  };
  for (const auto& [h, p, want] : cases) {
    CAPTURE(h);
    Floats x;
    for (int i = 0; i < h; ++i) x.push_back(float(i * i));
    const Floats rows = forward({1, h, 1, 1, p, 1}, x, 0, 1), columns = forward({1, 1, h, 1, 1, p}, x, 0, 1);
    CHECK_CLOSE(rows, want, 8e-6, 6e-8);  // a quotient up to 122, rounded once
    CHECK_SAME_BITS(rows, columns);
  }
}

TEST_CASE("pooling to the size there is copies") {
  const AdaptivePoolShape s{2, 7, 6, 12, 7, 6};
  const Floats x = random_floats(input_size(s, 2), 1);
  CHECK_SAME_BITS(forward(s, x, 0, 2), x);
  CHECK_SAME_BITS(backward(s, x, {}, {}, false, 0, 2), x);
}

TEST_CASE("adaptive pooling: <y, A x> = <Aᵀ y, x>") {
  for (const AdaptivePoolShape& s : shapes) {
    CAPTURE(describe(s));
    const Floats x = random_floats(input_size(s, s.n), 1), dy = random_floats(output_size(s, s.n), 2);
    const Floats y = forward(s, x, 0, s.n), dx = backward(s, dy, {}, {}, false, 0, s.n);
    double left = 0, right = 0, size = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      left += double(y[i]) * double(dy[i]), size += std::abs(double(dy[i]));
    for (std::size_t i = 0; i < x.size(); ++i)
      right += double(dx[i]) * double(x[i]), size += std::abs(double(dx[i]));
    CHECK(std::abs(left - right) <= 2.5e-6 * size);  // the largest error of a value, as above
  }
}

TEST_CASE("adaptive pooling keeps a NaN to the windows that hold it") {
  for (const int c : {1, 4}) {
    const AdaptivePoolShape s{1, 7, 1, c, 3, 1};
    Floats x(std::size_t(7 * c), 1.0f);
    x[std::size_t(2 * c)] = nan_value;  // row 2 lies in the first two windows
    const Floats y = forward(s, x, 0, 1);
    for (int i = 0; i < 3 * c; ++i) CHECK(std::isnan(y[std::size_t(i)]) == (i == 0 || i == c));
    Floats dy(std::size_t(3 * c), 3.0f);
    dy[std::size_t(c)] = nan_value;  // the second window holds rows 2, 3 and 4
    Bytes mask(7, 0xf >> (4 - c));
    mask[3] = 0;  // which hides it there
    const Floats dx = backward(s, dy, {}, mask, false, 0, 1);
    for (int i = 0; i < 7 * c; ++i) CHECK(std::isnan(dx[std::size_t(i)]) == (i == 2 * c || i == 4 * c));
    CHECK(dx[std::size_t(3 * c)] == 0);
  }
}

TEST_CASE("adaptive pooling refuses what makes no sense") {
  const Output<float> x(64), y(64);
  float* const px = x;
  float* const py = y;
  const auto fprop = [&](kernels::AdaptiveAvgPoolFprop a) {
    return [=] { table().adaptive_avg_pool_fprop(a, stream()); };
  };
  check_refused(fprop({0, 4, 4, 1, 2, 2, px, py}), {"adaptive_avg_pool_fprop", "n is 0"});
  check_refused(fprop({1, 0, 4, 1, 2, 2, px, py}), {"h is 0"});
  check_refused(fprop({1, 4, -1, 1, 2, 2, px, py}), {"w is -1"});
  check_refused(fprop({1, 4, 4, 0, 2, 2, px, py}), {"c is 0"});
  check_refused(fprop({1, 4, 4, 1, 0, 2, px, py}), {"p is 0"});
  check_refused(fprop({1, 4, 4, 1, 2, 0, px, py}), {"q is 0"});
  check_refused(fprop({1, 4, 4, 1, 2, 2, nullptr, py}), {"x is null"});
  check_refused(fprop({1, 4, 4, 1, 2, 2, px, nullptr}), {"y is null"});
  check_refused(fprop({1, 4, 4, 1, 2, 2, px, px + 15}), {"y", "memory of x"});
  check_refused(fprop({1, 1 << 16, 1, 1, 1 << 15, 1, px, py}), {"h x p", "65536 x 32768", "2^31"});
  const auto backward = [&](kernels::AdaptiveAvgPoolBackward a) {
    return [=] { table().adaptive_avg_pool_backward(a, stream()); };
  };
  check_refused(backward({1, 4, 4, 0, 2, 2, px, {}, py}), {"adaptive_avg_pool_backward", "c is 0"});
  check_refused(backward({1, 4, 4, 1, 2, 2, nullptr, {}, py}), {"dy is null"});
  check_refused(backward({1, 4, 4, 1, 2, 2, px, {}, nullptr}), {"dx is null"});
  check_refused(backward({1, 4, 4, 1, 2, 2, px, {}, px}), {"dx", "memory of dy"});
  check_refused(backward({1, 4, 4, 1, 2, 2, px, {py + 1, nullptr}, py}), {"dx", "epilogue.pending"});
}
