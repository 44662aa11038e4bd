#include "tests/common/test_device.h"

#include <cstdio>
#include <cstdlib>

namespace retrace {

Device& test_device() {
  static const std::unique_ptr<Device> device = [] {
    const char* const name = std::getenv("RETRACE_TEST_DEVICE");
    const std::string spec = name ? name : "sim";
    try {
      return Device::open(spec);
    } catch (const Error& error) {
      if (spec == "sim") throw;
      std::printf("skipped: %s\n", error.what());
      std::exit(77);
    }
  }();
  return *device;
}

}  // namespace retrace
