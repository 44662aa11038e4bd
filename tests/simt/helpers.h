// What the simulator's tests share.
#pragma once
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/simt/simt.h"

namespace retrace::test {

// Sets the simulator's options while it lives.
class WithOptions {
 public:
  explicit WithOptions(const simt::SimOptions& options) { simt::set_sim_options(options); }
  ~WithOptions() { simt::set_sim_options(before_); }
  WithOptions(const WithOptions&) = delete;
  WithOptions& operator=(const WithOptions&) = delete;

 private:
  simt::SimOptions before_ = simt::sim_options();
};

inline const std::vector<simt::SimOptions> all_orders = {
    {.threads = 0, .order = simt::ThreadOrder::forward},
    {.threads = 1, .order = simt::ThreadOrder::reverse},
    {.threads = 3, .order = simt::ThreadOrder::random, .seed = 1},
    {.threads = 2, .order = simt::ThreadOrder::random, .seed = 77},
};

// The message of the Error that `action` throws; "" if it throws none.
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// How a message names a place of this file.
inline std::string at_line(const char* file, int line) {
  return std::string(file) + ":" + std::to_string(line);
}

}  // namespace retrace::test
