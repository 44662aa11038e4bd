// What AddressSanitizer must be told; nothing in builds without it.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define RETRACE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RETRACE_ASAN 1
#endif
#endif

#if defined(RETRACE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace retrace::simt {

// Makes the linker take what AddressSanitizer calls back (sanitizer.cpp) out of its library.
#if defined(RETRACE_ASAN)
void link_sanitizer_hooks();
#else
inline void link_sanitizer_hooks() {}
#endif

// Around a switch of stacks. A null `fake_stack` says that the stack left is never returned to.
inline void start_switch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* stack,
                         [[maybe_unused]] std::size_t bytes) {
#if defined(RETRACE_ASAN)
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
}
inline void finish_switch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** old_stack,
                          [[maybe_unused]] std::size_t* old_bytes) {
#if defined(RETRACE_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack, old_stack, old_bytes);
#endif
}
inline void unpoison([[maybe_unused]] const void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(RETRACE_ASAN)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

}  // namespace retrace::simt
