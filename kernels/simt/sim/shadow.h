// The watcher of builds with RETRACE_RACECHECK: is told of every load and store of a simulated kernel and
// says what is wrong with it. Kernels are compiled with the compiler's ThreadSanitizer instrumentation, but
// its run-time library is not linked: its hooks are ours (tsan_hooks.cpp) and lead here.
//
// Shared memory: for each byte the last writer and two readers since the last barrier (a word whose bytes were always
// touched together has one cell for all four). Two accesses by different threads, at least one of them a write, must
// have a barrier between them, or, in one warp, a __syncwarp or another collective of both lanes (each lane carries a
// vector clock over its warp). Two atomics do not conflict. Device memory: bounds, freed blocks and, on request,
// conflicts between blocks. Everything else (stacks, constants, memory nobody registered) is left alone.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/simt/sim/access_counter.h"
#include "kernels/simt/sim/call_site.h"
#include "kernels/simt/sim/memory_registry.h"
#include "kernels/simt/sim/shared_memory.h"
#include "kernels/simt/sim_runtime.h"

namespace retrace::simt {

class Shadow {
 public:
  explicit Shadow(const SharedMemory& shared) : shared_(shared) {}

  void begin_launch(const char* kernel, unsigned threads,
                    std::shared_ptr<const std::vector<MemoryBlock>> memory, const SimOptions& options);
  void begin_block(uint3 block);
  void end_block();
  // After a fault: what was on its way will not arrive.
  void forget();

  void barrier();
  void warp_sync(unsigned first_thread, unsigned mask);
  // 16 bytes of cp.async are on their way, and have landed.
  void begin_copy(const void* to, std::size_t bytes) { set_copying(to, bytes, true); }
  void end_copy(const void* to, std::size_t bytes) { set_copying(to, bytes, false); }

  // Whether there is nothing to do about an access: it goes where this place last went, to device memory that holds
  // it or to none. False says nothing; call check().
  bool is_plain(std::uintptr_t address, std::size_t bytes, CallSite at) const {
    const Range& range = plain_[at.hash() % plain_.size()];
    return address >= range.begin && address + bytes <= range.end;
  }
  // Whether the access is in order. If not, fault() is what is wrong: "reads 4 bytes of …".
  bool check(unsigned thread, std::uintptr_t address, std::size_t bytes, Access access, CallSite at) {
    const std::uintptr_t offset = address - reinterpret_cast<std::uintptr_t>(shared_.arena());
    if (offset < SharedMemory::arena_bytes && shared_.arena()) {
      return check_shared(thread, offset, bytes, access, at);
    }
    return check_device(thread, address, bytes, access, at);
  }
  const std::string& fault() const { return fault_; }

 private:
  struct Visit {
    std::uint64_t interval = 0;  // between two barriers; 0: never
    std::uint32_t epoch = 0;     // the thread's own, within its warp
    unsigned thread = 0;
    CallSite at;
  };
  struct Cell {  // four bytes of shared memory, or one
    Visit write, reads[2];
    bool atomic = false;   // the last write was one
    bool copying = false;  // cp.async has yet to land here
    bool split = false;    // a word touched in part since the launch began: its bytes have cells in split_
  };
  struct Range {
    std::uintptr_t begin = 1, end = 0;
  };
  static constexpr std::uint64_t several_blocks = ~std::uint64_t(0);
  struct GlobalCell {                      // one 4-byte word of device memory
    std::uint64_t writer = 0, reader = 0;  // block number + 1, or several_blocks; 0: none
    CallSite write, read;
    bool atomic = false;
  };

  bool check_shared(unsigned thread, std::uintptr_t offset, std::size_t bytes, Access access, CallSite at);
  bool check_device(unsigned thread, std::uintptr_t address, std::size_t bytes, Access access, CallSite at);
  bool check_between_blocks(std::uintptr_t address, std::size_t bytes, Access access, CallSite at,
                            const MemoryBlock& block);
  bool fail(std::string what);
  bool fail_outside(std::uintptr_t offset, std::size_t bytes, Access access);
  bool fail_device(std::uintptr_t address, std::size_t bytes, Access access, const MemoryBlock& block);
  void set_copying(const void* to, std::size_t bytes, bool copying);
  // Whether `thread` may rely on what happened at that visit.
  bool ordered(const Visit& visit, unsigned thread) const {
    return visit.interval != interval_ || visit.thread == thread ||
           (visit.thread / 32 == thread / 32 && clock(thread)[visit.thread % 32] >= visit.epoch);
  }
  void note_read(Cell& cell, const Visit& visit) const;
  std::uint32_t* clock(unsigned thread) { return &clocks_[std::size_t(thread) * 32]; }
  const std::uint32_t* clock(unsigned thread) const { return &clocks_[std::size_t(thread) * 32]; }
  std::string thread_name(unsigned thread) const;
  // visit(cell, first byte) for every cell of those bytes, until one says false.
  template <class F>
  bool each_cell(std::uintptr_t offset, std::size_t bytes, const F& visit);
  std::array<Cell, 4>& split(std::uintptr_t word);

  const SharedMemory& shared_;
  std::string fault_;
  std::vector<Cell> cells_;  // of the arena's words
  std::unordered_map<std::uintptr_t, std::array<Cell, 4>> split_;
  std::uint64_t interval_ = 0;         // counts on from block to block
  std::uint64_t first_interval_ = 0;   // of this block
  std::vector<std::uint32_t> clocks_;  // 32 per thread: up to which epoch it has met each lane of its warp
  std::shared_ptr<const std::vector<MemoryBlock>> memory_;
  std::array<Range, 256> plain_;  // by place in the program: most stay in one array
  bool between_blocks_ = false, counting_ = false;
  std::uint64_t block_number_ = 0;
  dim3 block_shape_;
  std::unordered_map<std::uintptr_t, GlobalCell> global_;
  AccessCounter counter_;

  friend class BlockExecutor;
};

// The shadow of the thread that runs, while its own code runs; null in the runtime and on the host, whose
// accesses are nobody's business.
extern thread_local constinit Shadow* watching;

// While the runtime works for a thread.
class Unwatched {
 public:
  Unwatched() {
    if (sim_racecheck) {
      before_ = watching;
      watching = nullptr;
    }
  }
  ~Unwatched() {
    if (sim_racecheck) watching = before_;
  }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;

 private:
  Shadow* before_ = nullptr;
};

}  // namespace retrace::simt
