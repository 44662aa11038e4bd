// The queue a launcher works on.
#pragma once

namespace retrace {

// On the GPU `native` is a cudaStream_t; the simulator runs every launch to its end before returning and
// ignores it.
struct Stream {
  void* native = nullptr;
};

}  // namespace retrace
