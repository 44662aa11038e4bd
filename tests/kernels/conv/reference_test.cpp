// The float64 reference itself: against numbers worked out by hand, and its three directions against each
// other.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/common/compare.h"
#include "tests/kernels/conv/harness.h"
#include "tests/reference/conv.h"

namespace retrace::conv_test {
namespace {

TEST_CASE("reference: a 2x2 filter over a 3x3 picture, by hand") {
  const Conv2dShape shape{1, 3, 3, 1, 1, 2, 2};
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8, 9}, w = {1, 10, 100, 1000}, dy = {1, 2, 3, 4};
  // A correlation, as in every framework: the filter is not turned round.
  CHECK_CLOSE(reference::conv2d_fprop(shape, x, w), (std::vector<double>{5421, 6532, 8754, 9865}), 0, 0);
  CHECK_CLOSE(reference::conv2d_dgrad(shape, dy, w),
              (std::vector<double>{1, 12, 20, 103, 1234, 2040, 300, 3400, 4000}), 0, 0);
  CHECK_CLOSE(reference::conv2d_wgrad(shape, x, dy), (std::vector<double>{37, 47, 67, 77}), 0, 0);
}

TEST_CASE("reference: stride, padding and dilation differ in height and width, by hand") {
  // One row and one column at a time, so that a swap of the two directions shows.
  const std::vector<float> x = {1, 2, 3, 4, 5, 6}, w = {1, 10};
  // height: pad 1, stride 2, dilation 3: taps at −1 + 2p and 2 + 2p
  const Conv2dShape tall{.h = 6, .r = 2, .stride_h = 2, .pad_h = 1, .dilation_h = 3};
  CHECK_CLOSE(reference::conv2d_fprop(tall, x, w), (std::vector<double>{30, 52, 4}), 0, 0);
  // width: pad 2, stride 3, dilation 1: taps at −2 + 3q and −1 + 3q
  const Conv2dShape wide{.w = 6, .s = 2, .stride_w = 3, .pad_w = 2};
  CHECK_CLOSE(reference::conv2d_fprop(wide, x, w), (std::vector<double>{0, 32, 65}), 0, 0);
}

TEST_CASE("reference: channels, filters and groups, by hand") {
  // Two groups of two input channels, two filters each.
  const Conv2dShape shape{.w = 2, .c = 4, .k = 4, .groups = 2};
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8}, w = {1, 10, 2, 20, 3, 30, 4, 40};
  CHECK_CLOSE(reference::conv2d_fprop(shape, x, w),
              (std::vector<double>{21, 42, 129, 172, 65, 130, 261, 348}), 0, 0);
}

TEST_CASE("reference: <conv(x, w), dy> = <x, dgrad(dy, w)> = <w, wgrad(x, dy)>") {
  const auto inner = [](const std::vector<double>& a, const std::vector<float>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * double(b.at(i));
    return sum;
  };
  for (const auto& [why, shape] : shape_table()) {
    CAPTURE(why);
    // whole numbers: all three sums are exact
    const auto x = whole_numbers(shape.input_size(), -4, 4, 61),
               w = whole_numbers(shape.weight_size(), -4, 4, 62);
    const auto dy = whole_numbers(shape.output_size(), -4, 4, 63);
    const double forward = inner(reference::conv2d_fprop(shape, x, w), dy);
    CHECK(forward == inner(reference::conv2d_dgrad(shape, dy, w), x));
    CHECK(forward == inner(reference::conv2d_wgrad(shape, x, dy), w));
  }
}

}  // namespace
}  // namespace retrace::conv_test
