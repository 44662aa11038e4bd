// What the convolution tests share: operands on the host, a run on the device, the same in float64.
//
// Two kinds of data. Small whole numbers make every product, sum and epilogue exact in fp32, so results must
// equal the reference exactly and one forgotten tap shows. Random floats then show that nothing is rounded
// more coarsely than fp32.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv/conv.h"

namespace retrace::conv_test {

using kernels::Conv2dShape;
using kernels::ConvVariant;
using kernels::Part;

inline constexpr ConvVariant variants[] = {ConvVariant::direct, ConvVariant::tiled, ConvVariant::depthwise};

// Whole numbers in low … high, reproducible.
std::vector<float> whole_numbers(long long count, int low, int high, std::uint32_t seed);
// Uniform in [−1, 1), 24 bits each.
std::vector<float> random_floats(long long count, std::uint32_t seed);
// A well-formed ReLU mask: bits past the last channel 0.
std::vector<std::uint8_t> random_mask(long long pixels, int channels, std::uint32_t seed);

// Operands of a launch; an empty vector is a null pointer.
struct Fprop {
  Conv2dShape shape = {};
  std::vector<float> x = {}, w = {};
  Part part = Part::all;
  float alpha = 1;
  std::vector<float> bias = {}, residual = {};
  bool residual_is_y = false;  // the residual stands in y before the launch
  bool relu = false, mask = false;
};
struct FpropResult {
  std::vector<float> y;
  std::vector<std::uint8_t> mask = {};
};
struct Dgrad {
  Conv2dShape shape = {};
  std::vector<float> dy = {}, w = {};
  std::vector<float> factor = {}, denominator = {};
  float epsilon = 0;
  float alpha = 1;
  std::vector<float> multiply = {};
  Part part = Part::all;
  std::vector<float> pending = {};
  bool pending_is_dx = false;
  std::vector<std::uint8_t> mask = {};
};
struct Wgrad {
  Conv2dShape shape = {};
  std::vector<float> x = {}, dy = {};
  std::vector<float> accumulate = {};  // what dw holds before the launch that adds to it
};

// By how many floats the operands are off a 256-byte boundary. 0: wide loads may run; 1: they must not.
struct Offsets {
  std::size_t signal = 0, weights = 0, rest = 0;
};

// Launches on the test device. Outputs start as NaN and stand between guards: an element left out and one
// written outside both fail the test.
FpropResult run(const Fprop& a, ConvVariant variant, const Offsets& offsets = {});
std::vector<float> run(const Dgrad& a, ConvVariant variant, const Offsets& offsets = {});
// signal: x, weights: dy, rest: dw and the workspace, which has the size asked for and no more
std::vector<float> run(const Wgrad& a, ConvVariant variant, const Offsets& offsets = {});

// The whole thing in float64.
std::vector<double> expected(const Fprop& a);
std::vector<double> expected(const Dgrad& a);
std::vector<double> expected(const Wgrad& a);
// The epilogues alone, on sums that have been made already.
std::vector<double> finish(const Fprop& a, std::vector<double> sums);
std::vector<double> finish(const Dgrad& a, std::vector<double> sums);
double part_of(Part part, double x);
// SignalLoad, in float64.
std::vector<double> loaded_signal(const Dgrad& a);

// The mask that belongs to an output [pixels, channels].
std::vector<std::uint8_t> mask_of(const std::vector<float>& y, int channels);

// How far an fp32 sum of `terms` products may be from the exact one, relative, RMS. Adding random signed
// terms one after the other, the partial sums grow like √i and each rounds by u / √3, u = 2⁻²⁴, so the error
// is u √(terms / 6); the bound is 2.4 times that and a few roundings of loads and epilogue.
double rms_tolerance(double terms);
// Largest error allowed anywhere: 8 times the RMS one (the most of 10⁶ normal errors is 5 times their RMS).
double max_tolerance(double terms, const std::vector<double>& want);

double dot(const std::vector<float>& a, const std::vector<float>& b);
double norm(const std::vector<float>& a);

struct ShapeCase {
  const char* why;
  Conv2dShape shape = {};
};
const std::vector<ShapeCase>& shape_table();
// Those and the ones that wgrad's tiles and slices need.
const std::vector<ShapeCase>& wgrad_shape_table();

}  // namespace retrace::conv_test
