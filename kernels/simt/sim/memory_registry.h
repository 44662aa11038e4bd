// Which device memory there is: what the watcher of RETRACE_RACECHECK compares addresses with.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace retrace::simt {

struct MemoryBlock {
  std::uintptr_t begin = 0, end = 0;            // what may be touched
  std::uintptr_t zone_begin = 0, zone_end = 0;  // with its guard zones
  bool freed = false;
};

// The blocks as they are now, by address; zones do not overlap.
std::shared_ptr<const std::vector<MemoryBlock>> memory_blocks();

}  // namespace retrace::simt
