// What launchers check before they launch. Every failure is one line: launcher, argument, found, expected.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/error.h"
#include "kernels/signal.h"

namespace retrace::kernels {

// Throws Error "launcher: argument is found, expected expected".
[[noreturn]] inline void refuse(const char* launcher, const std::string& argument, const std::string& found,
                                const std::string& expected) {
  throw Error(std::string(launcher) + ": " + argument + " is " + found + ", expected " + expected);
}

inline void check_pointer(const char* launcher, const char* argument, const void* p) {
  if (!p) refuse(launcher, argument, "null", "device memory");
}

inline void check_positive(const char* launcher, const char* argument, long long value) {
  if (value < 1) refuse(launcher, argument, std::to_string(value), "at least 1");
}

// The most elements an operand may have: what one grid can cover with room to spare, and far from overflowing
// a long long when counted in bytes.
constexpr long long max_elements = 1LL << 38;

// The product of the sizes of operand `argument`, each at least 0.
inline long long checked_elements(const char* launcher, const char* argument,
                                  std::initializer_list<long long> sizes) {
  long long product = 1;
  for (const long long size : sizes) {
    if (size != 0 && product > max_elements / size) {
      refuse(launcher, std::string("the size of ") + argument, "more than 2^38 elements", "at most that");
    }
    product *= size;
  }
  return product;
}

struct Operand {
  const char* name;
  const void* data;
  long long bytes;
};

// Throws if the two share memory. An operand that is null shares none.
inline void check_apart(const char* launcher, const Operand& out, const Operand& in) {
  if (!out.data || !in.data) return;
  const auto a = reinterpret_cast<std::uintptr_t>(out.data), b = reinterpret_cast<std::uintptr_t>(in.data);
  if (a < b + std::uintptr_t(in.bytes) && b < a + std::uintptr_t(out.bytes)) {
    refuse(launcher, out.name, std::string("in the memory of ") + in.name, "memory of its own");
  }
}

// Throws if the two share memory without being the same array.
inline void check_same_or_apart(const char* launcher, const Operand& out, const Operand& in) {
  if (out.data != in.data) check_apart(launcher, out, in);
}

// A SignalLoad of an output of `elements` floats.
inline void check_load(const char* launcher, const SignalLoad& load, const Operand& out, long long elements) {
  check_pointer(launcher, "dy.signal", load.signal);
  if (!(load.epsilon >= 0)) refuse(launcher, "dy.epsilon", std::to_string(load.epsilon), "0 or more");
  const long long bytes = elements * 4;
  check_apart(launcher, out, {"dy.signal", load.signal, bytes});
  check_apart(launcher, out, {"dy.factor", load.factor, bytes});
  check_apart(launcher, out, {"dy.denominator", load.denominator, bytes});
}

// The epilogue of `out`, which has `pixels` × `channels` floats.
inline void check_epilogue(const char* launcher, const SignalEpilogue& epilogue, const Operand& out,
                           long long pixels, int channels) {
  check_same_or_apart(launcher, out, {"epilogue.pending", epilogue.pending, pixels * channels * 4});
  check_apart(launcher, out, {"epilogue.mask", epilogue.mask, pixels * mask_pitch(channels)});
}

// True if every pointer of the list is null or a multiple of `alignment` bytes: wide loads need it.
inline bool aligned(std::initializer_list<const void*> pointers, std::size_t alignment) {
  for (const void* p : pointers) {
    if (reinterpret_cast<std::uintptr_t>(p) % alignment) return false;
  }
  return true;
}

}  // namespace retrace::kernels
