// Our convolutions beside cuDNN's, in one run on one GPU. Only where the build found cuDNN.
#pragma once
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/device.h"
#include "kernels/conv/conv.h"

namespace retrace::bench {

struct ConvCase {
  const char* name;
  int count;  // how often the network has it
  kernels::Conv2dShape shape;
};

// Prints a table of fprop and dgrad times and returns it as JSON; null, with a line that says why, where there is no
// cuDNN or the device is no GPU. fp32 with TF32 off (CUDNN_FMA_MATH) on both sides, random data, the same operands.
// Ours is the variant that `automatic` chooses; cuDNN's the fastest of all algorithms it has that need at most 256 MiB
// of workspace, once for NHWC, the layout ours has, and once for NCHW. Their results are compared with ours first.
// At least 20 runs each (event_timer.h).
nlohmann::json compare_with_cudnn(Device& device, const std::vector<ConvCase>& cases, int runs);

}  // namespace retrace::bench
