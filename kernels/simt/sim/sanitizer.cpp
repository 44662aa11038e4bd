// What the sanitizers ask of the simulator.
#include "kernels/simt/sim/sanitizer.h"

#if defined(RETRACE_ASAN)

#include <unistd.h>

#include <cstring>

#include "kernels/simt/sim/executor.h"

namespace {

// Says which simulated thread a report is about.
void name_the_thread() {
  if (!retrace::simt::executor) return;
  char text[1024] = "simulated ";
  const std::size_t begin = std::strlen(text);
  retrace::simt::executor->describe_running(text + begin, sizeof text - begin - 1);
  std::strcat(text, "\n");
  (void)!write(STDERR_FILENO, text, std::strlen(text));
}

}  // namespace

extern "C" {

// Called by AddressSanitizer and UndefinedBehaviorSanitizer as they report.
void __asan_on_error() {
  name_the_thread();
}
void __ubsan_on_report() {
  name_the_thread();
}

// Looking for uses after return would move every simulated thread's variables to a stack of its own: 90 times
// as slow. A program may still ask for it in ASAN_OPTIONS.
const char* __asan_default_options() {
  return "detect_stack_use_after_return=0";
}

}  // extern "C"

namespace retrace::simt {
void link_sanitizer_hooks() {}
}  // namespace retrace::simt

#endif
