// The functions that code compiled with -fsanitize=thread calls at each load and store. Compiled only where
// RETRACE_RACECHECK is on; ThreadSanitizer's own library is not linked. A hook runs before the access it
// announces, so that a bad one never happens.
//
// The compiler also instruments the launchers beside the kernels and inline functions of the standard
// library, which the linker may share with anybody: outside of a simulated thread's own code a hook does
// nothing.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/simt/sim/executor.h"

namespace {

using retrace::simt::Access;
using retrace::simt::CallSite;

inline void visit(const void* memory, std::size_t bytes, Access access, const void* return_address) {
  retrace::simt::Shadow* const shadow = retrace::simt::watching;
  const CallSite at = CallSite::returning_to(return_address);
  if (!shadow || shadow->is_plain(reinterpret_cast<std::uintptr_t>(memory), bytes, at)) return;
  const retrace::simt::Unwatched while_checking;
  retrace::simt::executor->note(memory, bytes, access, at);
}

}  // namespace

#pragma GCC diagnostic ignored "-Wmissing-declarations"

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define RETRACE_HOOKS(N)                                     \
  void __tsan_read##N(void* p) {                             \
    visit(p, N, Access::read, __builtin_return_address(0));  \
  }                                                          \
  void __tsan_write##N(void* p) {                            \
    visit(p, N, Access::write, __builtin_return_address(0)); \
  }                                                          \
  void __tsan_unaligned_read##N(void* p) {                   \
    visit(p, N, Access::read, __builtin_return_address(0));  \
  }                                                          \
  void __tsan_unaligned_write##N(void* p) {                  \
    visit(p, N, Access::write, __builtin_return_address(0)); \
  }                                                          \
  void __tsan_volatile_read##N(void* p) {                    \
    visit(p, N, Access::read, __builtin_return_address(0));  \
  }                                                          \
  void __tsan_volatile_write##N(void* p) {                   \
    visit(p, N, Access::write, __builtin_return_address(0)); \
  }                                                          \
  void __tsan_read_write##N(void* p) {                       \
    visit(p, N, Access::read, __builtin_return_address(0));  \
    visit(p, N, Access::write, __builtin_return_address(0)); \
  }                                                          \
  void __tsan_unaligned_read_write##N(void* p) {             \
    visit(p, N, Access::read, __builtin_return_address(0));  \
    visit(p, N, Access::write, __builtin_return_address(0)); \
  }
RETRACE_HOOKS(1)
RETRACE_HOOKS(2)
RETRACE_HOOKS(4)
RETRACE_HOOKS(8)
RETRACE_HOOKS(16)
#undef RETRACE_HOOKS

void __tsan_read_range(void* p, std::size_t n) {
  visit(p, n, Access::read, __builtin_return_address(0));
}
void __tsan_write_range(void* p, std::size_t n) {
  visit(p, n, Access::write, __builtin_return_address(0));
}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

// clang routes these through the run-time library; g++ calls them directly.
void* __tsan_memcpy(void* to, const void* from, std::size_t n) {
  visit(from, n, Access::read, __builtin_return_address(0));
  visit(to, n, Access::write, __builtin_return_address(0));
  return std::memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, std::size_t n) {
  visit(from, n, Access::read, __builtin_return_address(0));
  visit(to, n, Access::write, __builtin_return_address(0));
  return std::memmove(to, from, n);
}
void* __tsan_memset(void* to, int value, std::size_t n) {
  visit(to, n, Access::write, __builtin_return_address(0));
  return std::memset(to, value, n);
}

// Atomic builtins, in launchers (function-local statics, reference counts) and in kernels that use them
// directly. The strongest order serves every request for a weaker one.
#define RETRACE_ATOMICS(BITS, T)                                                                   \
  T __tsan_atomic##BITS##_load(const volatile T* p, int) {                                         \
    visit(const_cast<const T*>(p), sizeof(T), Access::read, __builtin_return_address(0));          \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##BITS##_store(volatile T* p, T v, int) {                                      \
    visit(const_cast<const T*>(p), sizeof(T), Access::atomic, __builtin_return_address(0));        \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  RETRACE_UPDATE(BITS, T, exchange, __atomic_exchange_n)                                           \
  RETRACE_UPDATE(BITS, T, fetch_add, __atomic_fetch_add)                                           \
  RETRACE_UPDATE(BITS, T, fetch_sub, __atomic_fetch_sub)                                           \
  RETRACE_UPDATE(BITS, T, fetch_and, __atomic_fetch_and)                                           \
  RETRACE_UPDATE(BITS, T, fetch_or, __atomic_fetch_or)                                             \
  RETRACE_UPDATE(BITS, T, fetch_xor, __atomic_fetch_xor)                                           \
  RETRACE_UPDATE(BITS, T, fetch_nand, __atomic_fetch_nand)                                         \
  int __tsan_atomic##BITS##_compare_exchange_strong(volatile T* p, T* expected, T v, int, int) {   \
    visit(const_cast<const T*>(p), sizeof(T), Access::atomic, __builtin_return_address(0));        \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }                                                                                                \
  int __tsan_atomic##BITS##_compare_exchange_weak(volatile T* p, T* expected, T v, int, int) {     \
    visit(const_cast<const T*>(p), sizeof(T), Access::atomic, __builtin_return_address(0));        \
    return __atomic_compare_exchange_n(p, expected, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
  }                                                                                                \
  T __tsan_atomic##BITS##_compare_exchange_val(volatile T* p, T expected, T v, int, int) {         \
    visit(const_cast<const T*>(p), sizeof(T), Access::atomic, __builtin_return_address(0));        \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);       \
    return expected;                                                                               \
  }
#define RETRACE_UPDATE(BITS, T, NAME, BUILTIN)                                              \
  T __tsan_atomic##BITS##_##NAME(volatile T* p, T v, int) {                                 \
    visit(const_cast<const T*>(p), sizeof(T), Access::atomic, __builtin_return_address(0)); \
    return BUILTIN(p, v, __ATOMIC_SEQ_CST);                                                 \
  }
RETRACE_ATOMICS(8, std::uint8_t)
RETRACE_ATOMICS(16, std::uint16_t)
RETRACE_ATOMICS(32, std::uint32_t)
RETRACE_ATOMICS(64, std::uint64_t)
#undef RETRACE_ATOMICS
#undef RETRACE_UPDATE

void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

}  // extern "C"
