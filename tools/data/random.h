// Random numbers that are a function of what they are for: counter-based, integer, the same on every machine.
#pragma once
#include <cstdint>

namespace retrace::data {

// The finaliser of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): one-to-one,
// and every bit of the input reaches every bit of the output.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// What a sequence is for: sequences of different purposes have nothing to do with each other.
enum class Purpose : std::uint64_t { layout = 1, background, distractors, objects, finish, order, augment };

class Random {
 public:
  // The sequence of (seed, purpose, a, b).
  Random(std::uint64_t seed, Purpose purpose, std::uint64_t a, std::uint64_t b = 0)
      : key_(chain(chain(chain(mix_bits(seed + golden), std::uint64_t(purpose)), a), b)) {}

  std::uint64_t next() { return mix_bits(key_ + ++count_ * golden); }
  // [0, 1), in steps of 2^-24: exact in float.
  float unit() { return float(next() >> 40) * 0x1p-24f; }
  float between(float low, float high) { return low + (high - low) * unit(); }
  // 0 … n - 1, n > 0; uneven by at most n / 2^32.
  std::uint32_t below(std::uint32_t n) { return std::uint32_t(((next() >> 32) * n) >> 32); }
  bool chance(float probability) { return unit() < probability; }

 private:
  static constexpr std::uint64_t golden = 0x9E3779B97F4A7C15u;
  static constexpr std::uint64_t chain(std::uint64_t key, std::uint64_t value) {
    return mix_bits((key ^ mix_bits(value + golden)) + golden);
  }

  std::uint64_t key_, count_ = 0;
};

}  // namespace retrace::data
