// What device.cpp chooses from. Private to the engine.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"

namespace retrace::backends {

DeviceInfo describe_sim();
std::unique_ptr<Device> open_sim();

// Empty, with a reason, where there is no GPU or this build has no CUDA.
std::vector<DeviceInfo> list_cuda();
std::string why_no_cuda();
std::unique_ptr<Device> open_cuda(int index);

}  // namespace retrace::backends
