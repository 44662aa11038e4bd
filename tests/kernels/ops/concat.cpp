#include "tests/kernels/ops/support.h"
#include "tests/reference/signal.h"

using namespace retrace;
using namespace retrace::test;

namespace {

// Arrays that stand side by side, so many channels each, in a picture of `pixels` pixels.
struct ConcatShape {
  int n, pixels;
  std::vector<int> channels;
};
// By fours and not; a part that is aligned in a whole that is not, and the other way round; more than one block.
const ConcatShape shapes[] = {{1, 1, {1}},         {2, 9, {3, 5}},       {3, 4, {8, 24}},
                              {1, 7, {24, 33, 3}}, {2, 5, {1, 4, 8, 3}}, {3, 30, {64, 32, 32}},
                              {1, 300, {12, 20}},  {2, 6, {8, 5, 8}}};

int total_of(const ConcatShape& s) {
  int total = 0;
  for (const int c : s.channels) total += c;
  return total;
}

// Images [first, first + count) of all parts, side by side.
Floats concatenated(const ConcatShape& s, const std::vector<Floats>& parts, int first, int count) {
  const int total = total_of(s);
  const Output<float> y(1LL * count * s.pixels * total);
  int offset = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Input<float> x(parts[i], s.n, first, count);
    table().concat_fprop({count * s.pixels, s.channels[i], total, offset, x, y}, stream());
    offset += s.channels[i];
  }
  return y.to_host();
}
std::vector<Floats> random_parts(const ConcatShape& s) {
  std::vector<Floats> parts;
  for (const int c : s.channels)
    parts.push_back(random_floats(1LL * s.n * s.pixels * c, unsigned(parts.size())));
  return parts;
}

}  // namespace

TEST_CASE("concat, forward and backward") {
  for (const ConcatShape& s : shapes) {
    const int total = total_of(s);
    CAPTURE(s.n);
    CAPTURE(s.pixels);
    CAPTURE(total);
    const std::vector<Floats> parts = random_parts(s);
    const Results y = run_all_ways(
        s.n, [&](int first, int count) { return Results{.y = concatenated(s, parts, first, count)}; });
    Floats want;
    for (int pixel = 0; pixel < s.n * s.pixels; ++pixel) {
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto from = parts[i].begin() + std::ptrdiff_t(pixel) * s.channels[i];
        want.insert(want.end(), from, from + s.channels[i]);
      }
    }
    CHECK_SAME_BITS(y.y, want);

    int offset = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const int c = s.channels[i];
      for (int kind = 0; kind < 4; ++kind) {  // plain; pending; pending and mask; the same in place
        CAPTURE(c);
        CAPTURE(kind);
        const Floats pending = kind ? random_floats(1LL * s.n * s.pixels * c, 11) : Floats();
        const Bytes mask = kind >= 2 ? random_mask(1LL * s.n * s.pixels, c, 12) : Bytes();
        const Results dx = run_all_ways(s.n, [&](int first, int count) {
          const Input<float> dy(want, s.n, first, count), device_pending(pending, s.n, first, count);
          const Input<std::uint8_t> device_mask(mask, s.n, first, count);
          const Output<float> out(1LL * count * s.pixels * c);
          float* const to = kind == 3 ? device_pending : static_cast<float*>(out);
          table().concat_backward({count * s.pixels, c, total, offset, dy, {device_pending, device_mask}, to},
                                  stream());
          return Results{.y = kind == 3 ? device_pending.to_host() : out.to_host()};
        });
        reference::Values want_dx(parts[i].begin(), parts[i].end());
        reference::finish(want_dx, pending, mask, std::size_t(c));
        CHECK_CLOSE(dx.y, want_dx, kind ? 6e-8 : 0, kind ? 6e-8 : 0);  // at most one sum of values up to 1
      }
      offset += c;
    }
  }
}

TEST_CASE("concat: <y, A x> = <Aᵀ y, x>, exactly, for both only move values") {
  for (const ConcatShape& s : shapes) {
    const int total = total_of(s), pixels = s.n * s.pixels;
    const std::vector<Floats> parts = random_parts(s);
    const Floats y = concatenated(s, parts, 0, s.n), dy = random_floats(1LL * pixels * total, 21);
    const Input<float> device_dy(dy);
    double left = 0, right = 0;
    for (std::size_t i = 0; i < y.size(); ++i) left += double(y[i]) * double(dy[i]);
    int offset = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Output<float> out(1LL * pixels * s.channels[i]);
      table().concat_backward({pixels, s.channels[i], total, offset, device_dy, {}, out}, stream());
      const Floats dx = out.to_host();
      for (std::size_t j = 0; j < dx.size(); ++j) right += double(dx[j]) * double(parts[i][j]);
      offset += s.channels[i];
    }
    CHECK(std::abs(left - right) <= 1e-12 * double(y.size()));  // only the order of these double sums differs
  }
}

TEST_CASE("concat moves NaN and infinity, and a mask hides them") {
  for (const int c : {3, 8}) {
    Floats x(std::size_t(c), 1.0f);
    x[0] = nan_value, x[1] = infinity, x[2] = -infinity;
    const Input<float> device_x(x);
    const Output<float> y(c), dx(c);
    table().concat_fprop({1, c, c, 0, device_x, y}, stream());
    CHECK_CLOSE(y.to_host(), x, 0, 0);
    const Input<std::uint8_t> mask(Bytes{0b10});
    table().concat_backward({1, c, c, 0, device_x, {nullptr, mask}, dx}, stream());
    Floats want(std::size_t(c), 0.0f);
    want[1] = infinity;
    CHECK_SAME_BITS(dx.to_host(), want);
  }
}

TEST_CASE("concat launchers refuse what they cannot work on") {
  const Output<float> x(64), y(64);
  const Output<std::uint8_t> mask(64);
  float* const px = x;
  float* const py = y;
  const auto fprop = [&](kernels::ConcatFprop a) { return [=] { table().concat_fprop(a, stream()); }; };
  check_refused(fprop({0, 4, 8, 0, px, py}), {"concat_fprop", "pixels is 0"});
  check_refused(fprop({1, 0, 8, 0, px, py}), {"c is 0"});
  check_refused(fprop({1, 4, 0, 0, px, py}), {"total is 0"});
  check_refused(fprop({1, 4, 8, -1, px, py}), {"offset is -1", "0 or more"});
  check_refused(fprop({1, 4, 8, 5, px, py}), {"offset is 5", "offset + c = 9", "at most total = 8"});
  check_refused(fprop({1, 4, 3, 0, px, py}), {"offset is 0", "at most total = 3"});
  check_refused(fprop({1, 4, 8, 2147483647, px, py}), {"offset is 2147483647", "offset + c = 2147483651"});
  check_refused(fprop({1, 4, 8, 0, nullptr, py}), {"x is null"});
  check_refused(fprop({1, 4, 8, 0, px, nullptr}), {"y is null"});
  check_refused(fprop({1, 4, 8, 0, px, px + 3}), {"y", "memory of x"});
  check_refused(fprop({2147483647, 4, 2147483647, 0, px, py}), {"size of the whole"});
  const auto backward = [&](kernels::ConcatBackward a) {
    return [=] { table().concat_backward(a, stream()); };
  };
  check_refused(backward({1, 4, 8, 5, px, {}, py}), {"concat_backward", "offset is 5"});
  check_refused(backward({1, 4, 8, 0, nullptr, {}, py}), {"dy is null"});
  check_refused(backward({1, 4, 8, 0, px, {}, nullptr}), {"dx is null"});
  check_refused(backward({1, 4, 8, 0, px, {}, px + 7}), {"dx", "memory of dy"});
  check_refused(backward({1, 4, 8, 0, px, {py + 1, nullptr}, py}), {"dx", "epilogue.pending"});
}
