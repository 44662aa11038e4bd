// The simulator: runs a grid of CUDA threads on the CPU, one fiber per thread, one block at a time per OS
// thread, blocks spread over the cores. Plain C++; knows nothing of the kernels it runs.
//
// Launches from several host threads are safe; they run one after the other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/error.h"

namespace retrace::simt {

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

// Whether this build watches every load and store of simulated kernels (RETRACE_RACECHECK=ON).
#if defined(RETRACE_RACECHECK)
inline constexpr bool sim_racecheck = true;
#else
inline constexpr bool sim_racecheck = false;
#endif

// In which order the blocks of a grid, and the threads of a block, take their turns. A kernel that lacks a
// barrier gives another answer in another order, so tests run all three.
enum class ThreadOrder : std::uint8_t { forward, reverse, random };

struct SimOptions {
  int threads = 0;  // OS threads; 0: as many as there are cores
  ThreadOrder order = ThreadOrder::forward;
  std::uint64_t seed = 0;  // of the random order
  // These two need a build with RETRACE_RACECHECK=ON; set_sim_options throws UsageError in any other.
  bool count_accesses = false;      // bank conflicts and memory sectors, for access_report()
  bool check_global_races = false;  // device memory that one block writes and another touches; one OS thread
};
void set_sim_options(const SimOptions& options);
SimOptions sim_options();

// A kernel did what a GPU would not forgive: the message names kernel, block, thread and call site.
class SimError : public Error {
 public:
  using Error::Error;
};

// What one line of a kernel asked of memory, summed over the launches since reset_access_report(). A request
// is one instruction of one warp.
struct AccessSite {
  std::string kernel;
  std::string place;  // file:line
  bool shared = false;
  bool write = false;
  std::uint64_t requests = 0;
  // Shared memory: passes over the 32 banks; device memory: 32-byte sectors.
  std::uint64_t transactions = 0;
  // What the same bytes would cost without conflicts and side by side.
  std::uint64_t ideal = 0;
};
// Worst first. Empty unless SimOptions::count_accesses was on. Lanes are matched by line and by how often
// they have come by since the last barrier, which is what a warp does whose lanes take the same branches.
std::vector<AccessSite> access_report();
void reset_access_report();

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};
// Runs `thread(body)` once for every thread of the grid; throws SimError after the first fault (what other
// blocks have written by then stays written), Error for a shape that no GPU takes. `kernel` is a name or the
// compiler's signature of Launcher; it must outlive the program.
void run_grid(const char* kernel, const LaunchShape& shape, void (*thread)(void*), void* body);

// --- called from inside a simulated thread ---

// What the built-in variables of the running thread read.
struct ThreadVariables {
  uint3 thread_idx, block_idx;
  dim3 block_dim, grid_dim;
};
extern thread_local constinit ThreadVariables current __attribute__((tls_model("initial-exec")));

// Waits for every thread of the block; returns for how many of them `predicate` was true.
int block_barrier(bool predicate, const std::source_location& at);

// Waits until every lane in `mask` has come to this collective. The last to come runs `together` once, with
// what each lane brought (entry i is lane i's `operand`; null for lanes outside the mask), then all go on.
using WarpFunction = void (*)(void* const* operands, unsigned mask);
void warp_collective(WarpFunction together, unsigned mask, void* operand, const std::source_location& at);

// The calling thread did what it must not; does not come back.
[[noreturn]] void shuffle_fault(int lane, const std::source_location& at);

// One per SHARED in the source, and per instantiation where that is in a template.
struct SharedTag {
  const char* name;
  const char* file;
  int line;
};
void* shared_array(const SharedTag* tag, std::size_t bytes);
void* shared_dynamic();

// cp.async: 16 bytes, of which the first `bytes` are read and the rest zeroed, on their way to shared memory.
// What is there until the thread's wait is poison (0xff).
void copy_async_16(void* shared, const void* global, int bytes, const std::source_location& at);
void copy_async_commit();
void copy_async_wait(int groups_left);

// Tells the watcher of an access made on the thread's behalf by the runtime; nothing in builds without it.
enum class Access : std::uint8_t { read, write, atomic };
void note_access(const void* memory, std::size_t bytes, Access access, const std::source_location& at);

}  // namespace retrace::simt
