// The shared memory of the block an executor runs: one piece per array, so that an overrun of one does not
// end in the next. Filled with 0xff at the start of each block: NaN as a float, -1 as an integer, so that a
// read of what no thread wrote shows in every build.
//
// Each array is a heap block of exactly its size, whose ends AddressSanitizer guards. In builds with
// RETRACE_RACECHECK all lie in one arena with gaps between them, so that the watcher finds the array, or the
// gap, that an address is in.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/simt/sim_runtime.h"

namespace retrace::simt {

class SharedMemory {
 public:
  struct Array {
    const SharedTag* tag;  // null: the dynamic shared memory
    std::size_t bytes;
    unsigned char* data;
    bool filled;  // in this block
    const char* name() const { return tag ? tag->name : "the dynamic shared memory"; }
  };

  ~SharedMemory() { clear(); }
  // Another kernel, or another launch of it.
  void begin_launch(std::size_t dynamic_bytes);
  void begin_block() {
    for (auto& array : arrays_) array.filled = false;
  }

  // The same array for every thread of a block. Null where the block would have more than the 48 KiB that
  // static arrays may take.
  void* array(const SharedTag* tag, std::size_t bytes) {
    for (auto& array : arrays_) {
      if (array.tag == tag) return array.filled ? array.data : fill(array);
    }
    return add(tag, bytes);
  }
  void* dynamic() { return array(nullptr, dynamic_bytes_); }

  const std::vector<Array>& arrays() const { return arrays_; }

  static constexpr std::size_t max_static_bytes = 48 * 1024;  // what nvcc accepts
  static constexpr std::size_t max_bytes = 227 * 1024;        // what the largest GPU so far gives a block

  // The arena; null in builds that have none.
  const unsigned char* arena() const { return arena_; }
  static constexpr std::size_t arena_bytes = sim_racecheck ? 1 << 20 : 0;

 private:
  static unsigned char* fill(Array& array);
  void* add(const SharedTag* tag, std::size_t bytes);
  void clear();

  std::vector<Array> arrays_;
  std::size_t dynamic_bytes_ = 0, static_bytes_ = 0;
  unsigned char* arena_ = nullptr;
  std::size_t arena_used_ = 0;
};

}  // namespace retrace::simt
