// What the benchmarks share: how long something takes.
#pragma once
#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "engine/device.h"

namespace retrace {

struct Times {
  double median = 0, low = 0, high = 0;  // milliseconds; 5th and 95th percentile
};

inline Times times_of(std::vector<double> milliseconds) {
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto at = [&](double p) {
    return milliseconds[std::size_t(p * double(milliseconds.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.05), at(0.95)};
}

inline Times measure(Device& device, int runs, const std::function<void()>& work) {
  work();  // packs weights, fills the memory pool
  device.synchronize();
  std::vector<double> all;
  for (int i = 0; i < runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    device.synchronize();
    all.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  return times_of(std::move(all));
}

}  // namespace retrace
