// What makes a pooling problem a sensible one.
#include "kernels/ops/checks.h"
#include "kernels/ops/ops.h"

namespace retrace::kernels {
namespace {

constexpr long long max_extent = 1 << 24;  // of every size: sums of a few of them stay far below 2^31

void check_field(const char* name, int value, int lowest) {
  if (value < lowest || value > max_extent) {
    refuse("pool", name, std::to_string(value), std::to_string(lowest) + " to " + std::to_string(max_extent));
  }
}

// One axis: the window must meet the input wherever it starts.
void check_axis(const char* axis, int size, int window, int stride, int pad, bool ceil_mode) {
  if (pad > window / 2) {
    refuse("pool", std::string("pad_") + axis, std::to_string(pad),
           "at most half the window of " + std::to_string(window));
  }
  const int span = size + 2 * pad - window + (ceil_mode ? stride - 1 : 0);
  if (span < 0) {
    refuse("pool", std::string("the window along ") + axis, std::to_string(window),
           "at most the padded input of " + std::to_string(size + 2 * pad));
  }
}

}  // namespace

void PoolShape::validate() const {
  check_field("n", n, 1);
  check_field("h", h, 1);
  check_field("w", w, 1);
  check_field("c", c, 1);
  check_field("r", r, 1);
  check_field("s", s, 1);
  check_field("stride_h", stride_h, 1);
  check_field("stride_w", stride_w, 1);
  check_field("pad_h", pad_h, 0);
  check_field("pad_w", pad_w, 0);
  check_axis("h", h, r, stride_h, pad_h, ceil_mode);
  check_axis("w", w, s, stride_w, pad_w, ceil_mode);
  checked_elements("pool", "x", {n, h, w, c});
  checked_elements("pool", "y", {n, p(), q(), c});
  // argmax counts the pixels of an image in 32 bits.
  if (1LL * h * w > 0x7fffffffLL) {
    refuse("pool", "h x w", std::to_string(1LL * h * w), "less than 2^31 pixels");
  }
}

}  // namespace retrace::kernels
