#include "kernels/simt/sim_runtime.h"

#include <mutex>

#include "kernels/simt/sim/executor.h"
#include "kernels/simt/sim/pool.h"

namespace retrace::simt {
namespace {

std::mutex options_mutex;
SimOptions options_now;

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_sim_options(const SimOptions& options) {
  if (!sim_racecheck && (options.count_accesses || options.check_global_races)) {
    throw UsageError(
        "simulator: counting accesses and checking races between blocks need a build with "
        "RETRACE_RACECHECK=ON");
  }
  const std::lock_guard lock(options_mutex);
  options_now = options;
}
SimOptions sim_options() {
  const std::lock_guard lock(options_mutex);
  return options_now;
}

void run_grid(const char* kernel, const LaunchShape& shape, void (*thread)(void*), void* body) {
  if (executor) {
    const Unwatched launching;
    executor->fault_at({}, "launches kernel " + kernel_name(kernel) + " from inside a kernel");
  }
  const auto& [grid, block, shared_bytes] = shape;
  const auto size = std::uint64_t(block.x) * block.y * block.z;
  // The limits of CUDA's compute capabilities 8.0 to 10.0.
  if (size == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 || size > 1024 || grid.y > 65535 ||
      grid.z > 65535 || grid.x > 0x7fffffffu || shared_bytes > SharedMemory::max_bytes) {
    throw Error(
        "kernel " + kernel_name(kernel) + ": a grid of " + triple({grid.x, grid.y, grid.z}) + " blocks of " +
        triple({block.x, block.y, block.z}) + " threads with " + std::to_string(shared_bytes) +
        " bytes of shared memory cannot be launched on any GPU (at most (2147483647,65535,65535) blocks, "
        "1024 threads, (1024,1024,64) of them, " +
        std::to_string(SharedMemory::max_bytes) + " bytes)");
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const Launch launch{kernel, shape, thread, body, sim_options(), sim_racecheck ? memory_blocks() : nullptr};
  pool().run(launch);
}

int block_barrier(bool predicate, const std::source_location& at) {
  const Unwatched waiting;
  return executor->barrier(predicate, at);
}

void warp_collective(WarpFunction together, unsigned mask, void* operand, const std::source_location& at) {
  const Unwatched waiting;
  executor->collective(together, mask, operand, at);
}

void shuffle_fault(int lane, const std::source_location& at) {
  const Unwatched faulting;
  executor->fault_at(at, "shuffles from lane " + std::to_string(lane) + ", which the mask leaves out");
}

void* shared_array(const SharedTag* tag, std::size_t bytes) {
  const Unwatched working;
  return executor->shared(tag, bytes);
}
void* shared_dynamic() {
  const Unwatched working;
  return executor->dynamic_shared();
}

void copy_async_16(void* shared, const void* global, int bytes, const std::source_location& at) {
  const Unwatched copying;
  executor->copy_async(shared, global, bytes, at);
}
void copy_async_commit() {
  const Unwatched copying;
  executor->copy_async_commit();
}
void copy_async_wait(int groups_left) {
  const Unwatched copying;
  executor->copy_async_wait(groups_left);
}

void note_access(const void* memory, std::size_t bytes, Access access, const std::source_location& at) {
  if (!sim_racecheck || !watching) return;
  const Unwatched working;
  executor->note(memory, bytes, access, at);
}

}  // namespace retrace::simt
