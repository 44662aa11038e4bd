// The device a test runs on: the one RETRACE_TEST_DEVICE names, the simulator without it. Where that is a GPU
// that is not there, the program says so and ends with 77, which ctest counts as skipped.
#pragma once
#include "engine/device.h"

namespace retrace {

Device& test_device();

}  // namespace retrace
