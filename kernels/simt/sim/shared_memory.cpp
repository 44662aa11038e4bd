#include "kernels/simt/sim/shared_memory.h"

#include <cstdlib>
#include <cstring>

namespace retrace::simt {
namespace {

constexpr std::size_t alignment = 128;
constexpr std::size_t gap = 256;  // between arrays of the arena

unsigned char* allocate(std::size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, alignment, bytes ? bytes : 1) != 0) {
    throw OutOfMemory("simulator: no memory for " + std::to_string(bytes) + " bytes of shared memory");
  }
  return static_cast<unsigned char*>(p);
}

}  // namespace

void SharedMemory::begin_launch(std::size_t dynamic_bytes) {
  if (!sim_racecheck) {
    clear();
  } else if (!arena_) {
    arena_ = allocate(arena_bytes);
  }
  arrays_.clear();
  static_bytes_ = 0;
  dynamic_bytes_ = dynamic_bytes;
  arena_used_ = gap;
}

void SharedMemory::clear() {
  if (sim_racecheck) {
    std::free(arena_);
    arena_ = nullptr;
  } else {
    for (auto& array : arrays_) std::free(array.data);
  }
  arrays_.clear();
}

unsigned char* SharedMemory::fill(Array& array) {
  std::memset(array.data, 0xff, array.bytes);
  array.filled = true;
  return array.data;
}

void* SharedMemory::add(const SharedTag* tag, std::size_t bytes) {
  if (tag) {
    if (bytes > max_static_bytes - static_bytes_) return nullptr;
    static_bytes_ += bytes;
  }
  unsigned char* data = nullptr;
  if (sim_racecheck) {
    data = arena_ + arena_used_;
    // At most 275 KiB of arrays, and a kernel has few: the arena holds them with their gaps.
    arena_used_ += (bytes + gap + alignment - 1) / alignment * alignment;
    if (arena_used_ > arena_bytes) throw OutOfMemory("simulator: too many shared arrays in one kernel");
  } else {
    data = allocate(bytes);
  }
  arrays_.push_back({tag, bytes, data, false});
  return fill(arrays_.back());
}

}  // namespace retrace::simt
