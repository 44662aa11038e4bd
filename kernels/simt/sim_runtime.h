// The simulator: runs a grid of CUDA threads on the CPU, one fiber per thread, one block at a time per OS
// thread, blocks spread over the cores. Plain C++; knows nothing of the kernels it runs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include "kernels/error.h"

namespace retrace::simt {

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

// What the built-in variables of the running thread read.
struct ThreadVariables {
  uint3 thread_idx, block_idx;
  dim3 block_dim, grid_dim;
};
extern thread_local constinit ThreadVariables current;

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

// In which order the threads of a block take their turns. A kernel that lacks a barrier gives another answer
// in another order, so tests run all three.
enum class ThreadOrder { forward, reverse, random };

struct SimOptions {
  int threads = 0;  // OS threads; 0: as many as there are cores
  ThreadOrder order = ThreadOrder::forward;
  std::uint64_t seed = 0;  // of the random order
};
void set_sim_options(const SimOptions& options);
SimOptions sim_options();

// A kernel did what a GPU would not forgive: the message names kernel, block, thread and call site.
class SimError : public Error {
 public:
  using Error::Error;
};

// Runs `thread(body)` once for every thread of the grid; throws SimError after the first fault.
void run_grid(const char* kernel, const LaunchShape& shape, void (*thread)(void*), void* body);

// --- called from inside a simulated thread ---

void block_barrier(const std::source_location& at);

enum class WarpOp : std::uint8_t { sync, shuffle, ballot };

// What the lanes of a warp brought to a collective.
struct WarpView {
  const std::uint64_t* values;  // 32 slots
  unsigned mask;
  int self;
  // The value lane `lane` brought; a lane that is not in the mask is a fault.
  std::uint64_t value(int lane, const std::source_location& at) const;
};
// Waits until every lane in `mask` has arrived at this collective, then shows what each brought.
WarpView warp_exchange(WarpOp op, unsigned mask, std::uint64_t value, const std::source_location& at);

void* shared_array(const char* name, const char* file, int line, std::size_t bytes);
void* shared_dynamic();

}  // namespace retrace::simt
