#include "tests/kernels/conv/harness.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "engine/tensor.h"
#include "tests/common/test_device.h"
#include "tests/reference/conv.h"

namespace retrace::conv_test {

namespace {

// Read by a kernel: ends where the allocation ends, so that an address sanitizer sees every overrun.
class Input {
 public:
  explicit Input(std::vector<float> values, std::size_t offset = 0) : offset_(offset) {
    if (values.empty()) return;
    values.insert(values.begin(), offset, 0.0f);
    memory_ = Tensor::from_host(test_device(), {std::int64_t(values.size())}, values);
  }
  const float* data() const { return memory_ ? memory_.data() + offset_ : nullptr; }

 private:
  std::size_t offset_;
  Tensor memory_;
};

// Written by a kernel: every byte outside the initial values is 0xff (a NaN) and must stay so around them.
template <class T>
class Output {
 public:
  explicit Output(std::size_t count, std::size_t offset = 0)
      : Output(std::vector<T>(count, unwritten()), offset) {}
  explicit Output(const std::vector<T>& values, std::size_t offset = 0)
      : lead_(guard + offset), count_(values.size()) {
    std::vector<T> all(lead_ + count_ + guard, unwritten());
    std::copy(values.begin(), values.end(), all.begin() + std::ptrdiff_t(lead_));
    memory_ = Tensor::from_host(test_device(), {std::int64_t(all.size())}, all);
  }
  T* data() const { return memory_.data<T>() + lead_; }
  std::vector<T> values() const {
    const std::vector<T> all = memory_.to_host<T>();
    const T mark = unwritten();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i < lead_ || i >= lead_ + count_) {
        if (std::memcmp(&all[i], &mark, sizeof(T)) != 0) {
          FAIL("a launch wrote outside its output: element ", std::ptrdiff_t(i) - std::ptrdiff_t(lead_),
               " of ", count_);
        }
      }
    }
    const auto first = all.begin() + std::ptrdiff_t(lead_);
    return std::vector<T>(first, first + std::ptrdiff_t(count_));
  }

 private:
  static constexpr std::size_t guard = 256;  // keeps the alignment
  static T unwritten() {
    T value;
    std::memset(&value, 0xff, sizeof(T));
    return value;
  }
  std::size_t lead_, count_;
  Tensor memory_;
};

}  // namespace

std::vector<float> whole_numbers(long long count, int low, int high, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = float(low + int(random() % std::uint32_t(high - low + 1)));
  return values;
}

std::vector<float> random_floats(long long count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = float(int(random() >> 8) - (1 << 23)) / float(1 << 23);
  return values;
}

std::vector<std::uint8_t> random_mask(long long pixels, int channels, std::uint32_t seed) {
  return mask_of(random_floats(pixels * channels, seed), channels);
}

FpropResult run(const Fprop& a, ConvVariant variant, const Offsets& offsets) {
  const Input x(a.x, offsets.signal), w(a.w, offsets.weights), bias(a.bias, offsets.rest);
  const Input residual(a.residual_is_y ? std::vector<float>() : a.residual, offsets.rest);
  const Output<float> y = a.residual_is_y ? Output<float>(a.residual, offsets.rest)
                                          : Output<float>(std::size_t(a.shape.output_size()), offsets.rest);
  const std::size_t mask_bytes =
      std::size_t(a.shape.output_size() / a.shape.k) * std::size_t(kernels::mask_pitch(a.shape.k));
  const Output<std::uint8_t> mask(a.mask ? mask_bytes : 0, offsets.rest);
  kernels::Conv2dFprop launch{.shape = a.shape,
                              .variant = variant,
                              .x = x.data(),
                              .part = a.part,
                              .w = w.data(),
                              .alpha = a.alpha,
                              .bias = bias.data(),
                              .residual = a.residual_is_y ? y.data() : residual.data(),
                              .relu = a.relu,
                              .y = y.data(),
                              .relu_mask = a.mask ? mask.data() : nullptr};
  test_device().kernels().conv2d_fprop(launch, test_device().stream());
  return {y.values(), mask.values()};
}

std::vector<float> run(const Dgrad& a, ConvVariant variant, const Offsets& offsets) {
  const Input dy(a.dy, offsets.signal), w(a.w, offsets.weights);
  const Input factor(a.factor, offsets.rest), denominator(a.denominator, offsets.rest);
  const Input multiply(a.multiply, offsets.rest);
  const Input pending(a.pending_is_dx ? std::vector<float>() : a.pending, offsets.rest);
  const Output<float> dx = a.pending_is_dx ? Output<float>(a.pending, offsets.rest)
                                           : Output<float>(std::size_t(a.shape.input_size()), offsets.rest);
  const Output<std::uint8_t> mask(a.mask, offsets.rest);
  const kernels::Conv2dDgrad launch{
      .shape = a.shape,
      .variant = variant,
      .dy = {dy.data(), factor.data(), denominator.data(), a.epsilon},
      .w = w.data(),
      .alpha = a.alpha,
      .multiply = multiply.data(),
      .part = a.part,
      .epilogue = {a.pending_is_dx ? dx.data() : pending.data(), a.mask.empty() ? nullptr : mask.data()},
      .dx = dx.data()};
  test_device().kernels().conv2d_dgrad(launch, test_device().stream());
  return dx.values();
}

std::vector<float> run(const Wgrad& a, ConvVariant variant, const Offsets& offsets) {
  const Input x(a.x, offsets.signal), dy(a.dy, offsets.weights);
  const Output<float> dw = a.accumulate.empty()
                               ? Output<float>(std::size_t(a.shape.weight_size()), offsets.rest)
                               : Output<float>(a.accumulate, offsets.rest);
  const auto scratch = std::size_t(kernels::conv2d_wgrad_workspace(a.shape, variant));
  const Output<float> workspace(scratch, offsets.rest);
  const kernels::Conv2dWgrad launch{.shape = a.shape,
                                    .variant = variant,
                                    .x = x.data(),
                                    .dy = dy.data(),
                                    .accumulate = !a.accumulate.empty(),
                                    .dw = dw.data(),
                                    .workspace = scratch ? workspace.data() : nullptr};
  test_device().kernels().conv2d_wgrad(launch, test_device().stream());
  workspace.values();  // checks the guards
  return dw.values();
}

double part_of(Part part, double x) {
  switch (part) {
    case Part::positive:
      return std::max(x, 0.0);
    case Part::negative:
      return std::min(x, 0.0);
    case Part::all:
      break;
  }
  return x;
}

std::vector<double> loaded_signal(const Dgrad& a) {
  std::vector<double> signal(a.dy.begin(), a.dy.end());
  for (std::size_t i = 0; i < signal.size(); ++i) {
    if (!a.factor.empty()) signal[i] *= double(a.factor[i]);
    if (a.denominator.empty()) continue;
    const double d = double(a.denominator[i]);
    const double stabilized = d < 0 ? d - double(a.epsilon) : d + double(a.epsilon);
    signal[i] = signal[i] == 0 || stabilized == 0 ? 0 : signal[i] / stabilized;
  }
  return signal;
}

std::vector<double> finish(const Fprop& a, std::vector<double> sums) {
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] *= double(a.alpha);
    if (!a.bias.empty()) sums[i] += double(a.bias[i % a.bias.size()]);
    if (!a.residual.empty()) sums[i] += double(a.residual[i]);
    if (a.relu) sums[i] = std::max(sums[i], 0.0);
  }
  return sums;
}

std::vector<double> finish(const Dgrad& a, std::vector<double> sums) {
  const std::size_t channels = std::size_t(a.shape.c), pitch = (channels + 7) / 8;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sums[i] *= double(a.alpha);
    if (!a.multiply.empty()) sums[i] *= part_of(a.part, double(a.multiply[i]));
    if (!a.pending.empty()) sums[i] += double(a.pending[i]);
    const std::size_t channel = i % channels;
    if (!a.mask.empty() && !(a.mask[i / channels * pitch + channel / 8] >> (channel % 8) & 1)) sums[i] = 0;
  }
  return sums;
}

std::vector<double> expected(const Fprop& a) {
  std::vector<double> x(a.x.begin(), a.x.end());
  for (double& v : x) v = part_of(a.part, v);
  return finish(a, reference::conv2d_fprop(a.shape, x, a.w));
}

std::vector<double> expected(const Dgrad& a) {
  return finish(a, reference::conv2d_dgrad(a.shape, loaded_signal(a), a.w));
}

std::vector<double> expected(const Wgrad& a) {
  std::vector<double> dw = reference::conv2d_wgrad(a.shape, a.x, a.dy);
  for (std::size_t i = 0; i < a.accumulate.size(); ++i) dw[i] += double(a.accumulate[i]);
  return dw;
}

std::vector<std::uint8_t> mask_of(const std::vector<float>& y, int channels) {
  const std::size_t count = std::size_t(channels), pitch = (count + 7) / 8;
  std::vector<std::uint8_t> mask(y.size() / count * pitch);
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] > 0) mask[i / count * pitch + i % count / 8] |= std::uint8_t(1u << (i % count % 8));
  }
  return mask;
}

double rms_tolerance(double terms) {
  return std::ldexp(4 + std::sqrt(terms), -24);
}

double max_tolerance(double terms, const std::vector<double>& want) {
  double squares = 0;
  for (double v : want) squares += v * v;
  return 8 * rms_tolerance(terms) * std::sqrt(squares / double(want.size()));
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * double(b.at(i));
  return sum;
}

double norm(const std::vector<float>& a) {
  return std::sqrt(dot(a, a));
}

}  // namespace retrace::conv_test
