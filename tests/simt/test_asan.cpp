// Builds with AddressSanitizer only: it sees what kernels do to device memory, shared arrays and their own
// variables, although all of it happens on stacks of the simulator's making; and the report says which
// simulated thread it was.
#include <sys/wait.h>

#include <cstdio>
#include <memory>
#include <string>

#include "tests/simt/helpers.h"

namespace retrace::test {
namespace {

struct Outcome {
  std::string text;
  bool failed;
};

Outcome run_broken(const std::string& name) {
  const std::string command = "\"" RETRACE_BROKEN_KERNELS "\" " + name + " 2>&1";
  FILE* const output = popen(command.c_str(), "r");
  REQUIRE(output);
  Outcome outcome;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, output)) outcome.text += buffer;
  outcome.failed = pclose(output) != 0;
  return outcome;
}

void check_report(const std::string& name, const std::string& what, const std::string& kernel_and_thread) {
  const Outcome outcome = run_broken(name);
  CAPTURE(outcome.text);
  CHECK(outcome.failed);
  CHECK(has(outcome.text, what));
  CHECK(has(outcome.text, "broken_kernels.cu:"));
  CHECK(has(outcome.text, kernel_and_thread));
  CHECK(!has(outcome.text, "ran to the end"));
}

TEST_CASE("a correct kernel passes") {
  const Outcome outcome = run_broken("correct");
  CAPTURE(outcome.text);
  CHECK(!outcome.failed);
  CHECK(outcome.text == "ran to the end\n");
}

TEST_CASE("AddressSanitizer sees the fault and names kernel, block and thread") {
  check_report("past_the_end", "heap-buffer-overflow", "past_the_end, block (1,0,0), thread (31,0,0)");
  check_report("before_the_start", "heap-buffer-overflow", "before_the_start, block (0,0,0), thread (0,0,0)");
  check_report("past_shared", "heap-buffer-overflow", "past_shared, block (0,0,0), thread (5,0,0)");
  check_report("past_dynamic", "heap-buffer-overflow", "past_dynamic, block (0,0,0), thread (31,0,0)");
  check_report("past_own_array", "stack-buffer-overflow", "past_own_array, block (0,0,0), thread (");
  check_report("after_free", "heap-use-after-free", "correct, block (");
}

#if defined(RETRACE_UBSAN)
TEST_CASE("UndefinedBehaviorSanitizer does so too") {
  check_report("shifts_too_far", "shift exponent 32 is too large",
               "shifts_too_far, block (0,0,0), thread (24,0,0)");
}
#endif

}  // namespace
}  // namespace retrace::test
