// Atomics of simulated threads: blocks run on several OS threads, so they must be real ones. Out of line, so
// that a watched build is told of one update instead of the loads and stores it is made of.
#include <atomic>

#include "kernels/simt/sim_math.h"

namespace retrace::simt {
namespace {

template <class T, class Update>
T update(T* p, const std::source_location& at, Update next) {
  note_access(p, sizeof(T), Access::atomic, at);
  std::atomic_ref<T> value(*p);
  T old = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(old, next(old), std::memory_order_relaxed)) {
  }
  return old;
}

}  // namespace

template <class T>
T atomic_add(T* p, T x, const std::source_location& at) {
  // Integers wrap around.
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return update(p, at, [x](T old) { return T(U(old) + U(x)); });
  } else {
    return update(p, at, [x](T old) { return old + x; });
  }
}
template <class T>
T atomic_min(T* p, T x, const std::source_location& at) {
  return update(p, at, [x](T old) { return min(old, x); });
}
template <class T>
T atomic_max(T* p, T x, const std::source_location& at) {
  return update(p, at, [x](T old) { return max(old, x); });
}
template <class T>
T atomic_and(T* p, T x, const std::source_location& at) {
  return update(p, at, [x](T old) { return old & x; });
}
template <class T>
T atomic_or(T* p, T x, const std::source_location& at) {
  return update(p, at, [x](T old) { return old | x; });
}
template <class T>
T atomic_xor(T* p, T x, const std::source_location& at) {
  return update(p, at, [x](T old) { return old ^ x; });
}
template <class T>
T atomic_exchange(T* p, T x, const std::source_location& at) {
  return update(p, at, [x](T) { return x; });
}
template <class T>
T atomic_compare_exchange(T* p, T expected, T x, const std::source_location& at) {
  return update(p, at, [=](T old) { return old == expected ? x : old; });
}

#define RETRACE_FOR(NAME, T) template T NAME(T*, T, const std::source_location&);
#define RETRACE_INTEGERS(NAME) \
  RETRACE_FOR(NAME, int)       \
  RETRACE_FOR(NAME, unsigned)  \
  RETRACE_FOR(NAME, unsigned long long)
RETRACE_INTEGERS(atomic_add)
RETRACE_FOR(atomic_add, float)
RETRACE_FOR(atomic_add, double)
RETRACE_INTEGERS(atomic_min)
RETRACE_INTEGERS(atomic_max)
RETRACE_INTEGERS(atomic_and)
RETRACE_INTEGERS(atomic_or)
RETRACE_INTEGERS(atomic_xor)
RETRACE_INTEGERS(atomic_exchange)
RETRACE_FOR(atomic_exchange, float)
template int atomic_compare_exchange(int*, int, int, const std::source_location&);
template unsigned atomic_compare_exchange(unsigned*, unsigned, unsigned, const std::source_location&);
template unsigned long long atomic_compare_exchange(unsigned long long*, unsigned long long,
                                                    unsigned long long, const std::source_location&);

}  // namespace retrace::simt
