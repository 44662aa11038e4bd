// Runs the blocks that one OS thread is given, one at a time, each CUDA thread on a fiber of its own.
//
// A thread runs until it must wait. Then a thread that has become ready takes over, else one that has not
// begun; the switch goes straight from fiber to fiber. A thread that ends lets the next fresh one begin on
// its stack, so that a kernel without barriers costs no switches at all. Fibers never migrate to another OS
// thread.
//
// Device code owns nothing: after a fault the threads that still wait are forgotten, not unwound.
#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "kernels/simt/sim/fiber.h"
#include "kernels/simt/sim/shadow.h"
#include "kernels/simt/sim/shared_memory.h"
#include "kernels/simt/sim_runtime.h"

namespace retrace::simt {

// One launch, as all executors see it.
struct Launch {
  const char* kernel;  // name or signature
  LaunchShape shape;
  void (*thread)(void*);
  void* body;
  SimOptions options;
  std::shared_ptr<const std::vector<MemoryBlock>> memory;  // null in builds without the watcher
};

class BlockExecutor {
 public:
  // Once before the first block of a launch.
  void begin_launch(const Launch& launch);
  // Throws SimError, or what the kernel threw. Afterwards the executor is usable again.
  void run_block(uint3 block);

  // --- from inside a simulated thread ---
  int barrier(bool predicate, const std::source_location& at);
  void collective(WarpFunction together, unsigned mask, void* operand, const std::source_location& at);
  void* shared(const SharedTag* tag, std::size_t bytes);
  void* dynamic_shared() { return shared_.dynamic(); }
  void copy_async(void* shared, const void* global, int bytes, const std::source_location& at);
  void copy_async_commit();
  void copy_async_wait(int groups_left);
  void note(const void* memory, std::size_t bytes, Access access, CallSite at);

  // Ends the block with `what`, said of the running thread.
  [[noreturn]] void fault_at(CallSite at, std::string&& what);

  // "kernel K, block (…), thread (…)", without allocating: for a process about to die.
  void describe_running(char* text, std::size_t bytes) const;

 private:
  enum class State : std::uint8_t { fresh, running, at_barrier, at_collective, done };
  struct Thread {
    State state = State::fresh;
    int fiber = -1;
    unsigned mask = 0;  // of the collective it waits in, and the next two
    WarpFunction together = nullptr;
    void* operand = nullptr;
    std::source_location at;  // where it waits
  };
  struct PendingCopy {
    void* to;
    std::size_t group;
    CallSite at;
    unsigned char data[16];
  };
  // Copies on their way, and groups committed so far, of one thread.
  struct Copies {
    std::vector<PendingCopy> pending;
    std::size_t groups = 0;
  };

  static void enter_thread();
  void run_threads();
  bool begin_next_thread(int fiber);
  void end_thread();
  Context& next_context();
  void wait(State state, const std::source_location& at);
  [[noreturn]] void give_up();
  void order_threads();
  void release(const unsigned* threads, unsigned count);
  void complete_copies(unsigned thread, std::size_t below_group);

  // faults.cpp
  std::string describe(unsigned thread, const std::string& place, const std::string& what) const;
  std::string whereabouts(unsigned thread) const;
  std::string stuck_message() const;
  std::string other_barrier_message(const std::source_location& at) const;
  std::string other_collective_message(unsigned thread, unsigned other) const;
  std::string thread_name(unsigned thread) const;

  const Launch* launch_ = nullptr;
  uint3 block_;
  unsigned size_ = 0;         // threads of the block
  std::vector<uint3> index_;  // of each thread
  dim3 indexed_shape_{0, 0, 0};
  std::vector<Thread> threads_;
  std::vector<unsigned> arrived_;  // lanes of each warp that wait in a collective
  SharedMemory shared_;
  std::vector<Copies> copies_;
  Shadow shadow_{shared_};

  Context main_;
  FiberSet fibers_;
  std::vector<unsigned> order_, ready_;
  std::size_t next_ready_ = 0, next_fresh_ = 0, done_ = 0;
  unsigned running_ = 0;

  unsigned at_barrier_ = 0;
  int predicates_ = 0, result_ = 0;  // of the barrier that fills, of the last one that was full
  std::source_location barrier_at_;

  std::uint64_t random_ = 0;
  std::string fault_;
  std::exception_ptr exception_;
};

// The executor of the running OS thread; null outside of simulated threads.
extern thread_local constinit BlockExecutor* executor;

std::string kernel_name(const char* signature);
std::string triple(const uint3& v);

}  // namespace retrace::simt
