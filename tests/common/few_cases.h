// For tests that take long where each access costs much.
#pragma once
#include <cstdlib>

namespace retrace {

// Whether a test should keep to the cases that between them reach every kernel and every path through it, once: where
// the simulator watches every access (the debug preset), or where RETRACE_TEST_FEW=1 asks for it (compute-sanitizer).
// RETRACE_TEST_FEW=0 asks for all of them anywhere.
inline bool few_cases() {
  const char* const asked = std::getenv("RETRACE_TEST_FEW");
  if (asked && *asked) return *asked != '0';
#ifdef RETRACE_RACECHECK
  return true;
#else
  return false;
#endif
}

}  // namespace retrace
