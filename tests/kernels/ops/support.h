// What the tests of the ops share: random arrays, arrays on the device, and the run that every shape of every
// op goes through.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/simt/sim_runtime.h"
#include "kernels/table.h"
#include "tests/common/compare.h"
#include "tests/common/test_device.h"

namespace retrace::test {

using Floats = std::vector<float>;
using Bytes = std::vector<std::uint8_t>;
using Ints = std::vector<std::int32_t>;

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// Uniform in [low, high).
inline Floats random_floats(long long count, unsigned seed, float low = -1, float high = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  Floats values(static_cast<std::size_t>(count));
  for (float& v : values) v = uniform(generator);
  return values;
}
inline Bytes random_bytes(long long count, unsigned seed) {
  std::mt19937 generator(seed);
  Bytes values(static_cast<std::size_t>(count));
  for (auto& v : values) v = std::uint8_t(generator());
  return values;
}
// A ReLU mask with about half the bits set, and 0 past the last channel.
inline Bytes random_mask(long long pixels, int channels, unsigned seed) {
  Bytes mask = random_bytes(pixels * kernels::mask_pitch(channels), seed);
  if (channels % 8) {
    const auto pitch = std::size_t(kernels::mask_pitch(channels));
    for (std::size_t i = pitch - 1; i < mask.size(); i += pitch)
      mask[i] &= std::uint8_t((1 << channels % 8) - 1);
  }
  return mask;
}

inline std::int64_t size_of(long long count) {
  return std::int64_t(count);
}

// Images [first, first + count) of a host array of `images` images; null for an empty one.
template <class T>
class Input {
 public:
  Input(const std::vector<T>& host, int images, int first, int count) {
    if (host.empty()) return;
    const auto each = std::ptrdiff_t(host.size()) / images;
    const std::vector<T> part(host.begin() + first * each, host.begin() + (first + count) * each);
    tensor_ = Tensor::from_host(test_device(), {size_of(std::ptrdiff_t(part.size()))}, part);
  }
  // All of it.
  explicit Input(const std::vector<T>& host) : Input(host, 1, 0, 1) {}
  operator T*() const { return tensor_ ? tensor_.template data<T>() : nullptr; }
  std::vector<T> to_host() const { return tensor_ ? tensor_.template to_host<T>() : std::vector<T>(); }

 private:
  Tensor tensor_;
};

// Room for a result, filled with bytes of 0xff (NaN, −1) so that what no thread wrote shows.
template <class T>
class Output {
 public:
  explicit Output(long long count)
      : tensor_(test_device(), {size_of(count)},
                std::is_same_v<T, float>          ? ElementType::f32
                : std::is_same_v<T, double>       ? ElementType::f64
                : std::is_same_v<T, std::int32_t> ? ElementType::i32
                                                  : ElementType::u8) {
    const Bytes marks(tensor_.bytes(), 0xff);
    test_device().upload(tensor_.raw(), marks.data(), marks.size());
  }
  operator T*() const { return tensor_.template data<T>(); }
  std::vector<T> to_host() const { return tensor_.template to_host<T>(); }

 private:
  Tensor tensor_;
};

// What a run gave; a kind of result that it does not have stays empty.
struct Results {
  Floats y;
  Bytes mask = {};
  Ints index = {};
  std::vector<double> sums = {};
};
inline void check_same(const Results& a, const Results& b, const std::string& what) {
  INFO(what);
  CHECK_SAME_BITS(a.y, b.y);
  CHECK_SAME_BITS(a.mask, b.mask);
  CHECK_SAME_BITS(a.index, b.index);
  CHECK_SAME_BITS(a.sums, b.sums);
}

// Runs images [0, n) in every order of threads and image by image: all must agree bit by bit. `run(first,
// count)` returns Results. On a GPU the orders are plain repetitions.
template <class Run>
Results run_all_ways(int n, Run run) {
  const simt::SimOptions before = simt::sim_options();
  const Results batch = run(0, n);
  simt::SimOptions options = before;
  options.order = simt::ThreadOrder::reverse;
  simt::set_sim_options(options);
  check_same(run(0, n), batch, "reverse thread order against forward");
  options.order = simt::ThreadOrder::random;
  for (options.seed = 1; options.seed <= 2; ++options.seed) {
    simt::set_sim_options(options);
    check_same(run(0, n), batch, "random thread order against forward");
  }
  simt::set_sim_options(before);
  if (n > 1) {
    Results singles;
    for (int i = 0; i < n; ++i) {
      const Results one = run(i, 1);
      singles.y.insert(singles.y.end(), one.y.begin(), one.y.end());
      singles.mask.insert(singles.mask.end(), one.mask.begin(), one.mask.end());
      singles.index.insert(singles.index.end(), one.index.begin(), one.index.end());
      singles.sums.insert(singles.sums.end(), one.sums.begin(), one.sums.end());
    }
    check_same(singles, batch, "single images against the batch");
  }
  return batch;
}

// The launcher must throw an Error whose message holds every one of `parts`.
template <class Call>
void check_refused(Call call, const std::vector<std::string>& parts) {
  std::string message;
  try {
    call();
  } catch (const Error& error) {
    message = error.what();
  }
  INFO("message: ", message);
  REQUIRE_MESSAGE(!message.empty(), "nothing was thrown");
  CHECK(message.find('\n') == std::string::npos);
  for (const auto& part : parts)
    CHECK_MESSAGE(message.find(part) != std::string::npos, "does not say: ", part);
}

inline const kernels::KernelTable& table() {
  return test_device().kernels();
}
inline Stream stream() {
  return test_device().stream();
}

}  // namespace retrace::test
