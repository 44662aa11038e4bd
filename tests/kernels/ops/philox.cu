// The device's Philox, on the simulator: whole counters, which dropout's launches never reach.
#include <doctest/doctest.h>

#include <random>

#include "kernels/ops/philox.cuh"
#include "tests/reference/philox.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

__global__ void draw(const PhiloxWords* counters, const std::uint64_t* keys, PhiloxWords* words) {
  const std::uint64_t key = keys[threadIdx.x];
  words[threadIdx.x] = philox(counters[threadIdx.x], std::uint32_t(key), std::uint32_t(key >> 32));
}

TEST_CASE("philox: known answers, and the reference on random counters and keys") {
  constexpr std::size_t count = 64;
  constexpr std::uint32_t ones = 0xffffffff;
  std::vector<PhiloxWords> counters = {
      {{0, 0, 0, 0}}, {{ones, ones, ones, ones}}, {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}};
  std::vector<std::uint64_t> keys = {0, ~0ULL, 0x299f31d0a4093822};
  std::mt19937_64 random(1);
  const auto word = [&] { return std::uint32_t(random()); };
  while (keys.size() < count) {
    counters.push_back({{word(), word(), word(), word()}});
    keys.push_back(random());
  }
  std::vector<PhiloxWords> words(count);
  launch<draw>(1, count, 0, Stream{})(counters.data(), keys.data(), words.data());
  const retrace::reference::PhiloxWords known[] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                                   {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                                   {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (std::size_t i = 0; i < count; ++i) {
    CAPTURE(i);
    const auto& c = counters[i].w;
    const auto want = i < 3 ? known[i] : retrace::reference::philox({c[0], c[1], c[2], c[3]}, keys[i]);
    for (std::size_t j = 0; j < 4; ++j) CHECK(words[i].w[j] == want[j]);
  }
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET
