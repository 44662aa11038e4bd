#include "kernels/simt/sim_runtime.h"

#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace retrace::simt {

thread_local constinit ThreadVariables current;

namespace {

namespace ctx = boost::context;

constexpr std::size_t stack_bytes = 128 * 1024;

enum class State : std::uint8_t { fresh, ready, at_barrier, at_collective, done };

std::string place(const std::source_location& at) {
  return std::string(at.file_name()) + ":" + std::to_string(at.line());
}
std::string triple(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

// Cuts `Kernel = ` … `]` out of the signature g++ and clang print.
std::string kernel_name(const char* signature) {
  const std::string text = signature;
  const auto begin = text.find("Kernel = ");
  if (begin == std::string::npos) return text;
  std::string name = text.substr(begin + 9, text.rfind(']') - begin - 9);
  if (const auto extra = name.find("; "); extra != std::string::npos) name.resize(extra);
  return name;
}

// Unwinds a thread whose block has been given up.
struct Abandon {};

// Runs the blocks one OS thread is given. Fibers stay with the executor and are reused from block to block;
// a thread that never waits runs to its end on the fiber the thread before it used, so a kernel without
// barriers costs no switches at all.
class BlockExecutor {
 public:
  void run_block(const char* kernel, const LaunchShape& shape, uint3 block, void (*thread)(void*), void* body,
                 const SimOptions& options) {
    kernel_ = kernel;
    thread_ = thread;
    body_ = body;
    const unsigned n = shape.block.x * shape.block.y * shape.block.z;
    block_dim_ = shape.block;
    current.block_dim = shape.block;
    current.grid_dim = shape.grid;
    current.block_idx = block;
    threads_.assign(n, {});
    warps_.assign((n + 31) / 32, {});
    shared_.clear();
    dynamic_shared_.reset();
    dynamic_bytes_ = shape.shared_bytes;
    order_.resize(n);
    for (unsigned i = 0; i < n; ++i) order_[i] = options.order == ThreadOrder::reverse ? n - 1 - i : i;
    if (options.order == ThreadOrder::random) {
      const std::uint64_t block_number = block.x + std::uint64_t(block.y) * 65536 + (std::uint64_t(block.z) << 32);
      rng_.seed(options.seed * 0x9e3779b97f4a7c15ull + block_number);
      std::shuffle(order_.begin(), order_.end(), rng_);
    }
    next_ = 0;
    done_ = 0;
    waiting_ = 0;
    fault_ = nullptr;
    ready_.clear();
    schedule();
    if (fault_) {
      abandon_block();
      std::rethrow_exception(fault_);
    }
  }

  void barrier(const std::source_location& at) {
    Thread& self = threads_[running_];
    self.at = at;
    self.state = State::at_barrier;
    ++waiting_;
    if (waiting_ == threads_.size()) {
      check_one_barrier();
      waiting_ = 0;
      for (unsigned t : order_) {
        threads_[t].state = State::ready;
        if (t != running_) ready_.push_back(t);
      }
      ready_.push_back(running_);
    }
    wait();
  }

  WarpView collective(WarpOp op, unsigned mask, std::uint64_t value, const std::source_location& at) {
    const unsigned self = running_;
    const int lane = int(self % 32);
    Warp& warp = warps_[self / 32];
    Thread& thread = threads_[self];
    if (!(mask >> lane & 1)) fail(self, at, "is not in the mask of the warp collective it calls");
    const unsigned slot = thread.collectives++ & 1;
    warp.values[slot][lane] = value;
    thread.at = at;
    thread.op = op;
    thread.mask = mask;
    thread.state = State::at_collective;
    warp.arrived |= 1u << lane;
    if ((warp.arrived & mask) == mask) {
      for (int other = 0; other < 32; ++other) {
        if (!(mask >> other & 1)) continue;
        const Thread& peer = threads_[self - lane + other];
        if (peer.op != op || peer.mask != mask || peer.at.line() != at.line() ||
            std::strcmp(peer.at.file_name(), at.file_name()) != 0) {
          fail(self, at,
               "meets lane " + std::to_string(other) + " waiting in another warp collective, at " + place(peer.at));
        }
      }
      warp.arrived &= ~mask;
      for (unsigned t : lanes_in_order(self - lane, mask)) {
        threads_[t].state = State::ready;
        if (t != self) ready_.push_back(t);
      }
      thread.state = State::ready;  // the last to arrive goes on at once
    } else {
      wait();
    }
    return {warp.values[slot], mask, lane};
  }

  void* shared(const char* name, const char* file, int line, std::size_t bytes) {
    for (const auto& array : shared_) {
      if (array.file == file && array.line == line) return array.data.get();
    }
    shared_.push_back({name, file, line, bytes, allocate(bytes)});
    return shared_.back().data.get();
  }
  void* dynamic_shared() {
    if (!dynamic_shared_) dynamic_shared_ = allocate(dynamic_bytes_);
    return dynamic_shared_.get();
  }

  [[noreturn]] void fail(unsigned thread, const std::source_location& at, const std::string& what) const {
    throw SimError("kernel " + kernel_name(kernel_) + ", block " + triple(current.block_idx) + ", thread " +
                   triple(index_of(thread)) + " at " + place(at) + ": " + what);
  }
  unsigned running() const { return running_; }

 private:
  struct Thread {
    State state = State::fresh;
    WarpOp op{};
    unsigned collectives = 0;
    unsigned mask = 0;
    std::source_location at;
    int fiber = -1;
  };
  struct Warp {
    std::uint64_t values[2][32];  // two rounds: a lane may be one collective ahead of one that has yet to read
    unsigned arrived = 0;
  };
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  using Buffer = std::unique_ptr<void, Free>;
  struct SharedArray {
    const char* name;
    const char* file;
    int line;
    std::size_t bytes;
    Buffer data;
  };
  struct Fiber {
    ctx::fiber handle;  // where to go to enter it
    ctx::fiber back;    // where to go to leave it
    bool idle = false;
  };

  static Buffer allocate(std::size_t bytes) {
    void* p = nullptr;
    // Exactly as long as asked: AddressSanitizer's red zone begins right behind the last element.
    if (posix_memalign(&p, 128, bytes ? bytes : 1) != 0) throw OutOfMemory("no memory for shared arrays");
    std::memset(p, 0xff, bytes);  // NaN, so that a read of what no thread wrote shows
    return Buffer(p);
  }

  uint3 index_of(unsigned thread) const {
    return {thread % block_dim_.x, thread / block_dim_.x % block_dim_.y, thread / block_dim_.x / block_dim_.y};
  }

  std::vector<unsigned> lanes_in_order(unsigned first, unsigned mask) const {
    std::vector<unsigned> lanes;
    const bool backwards = !order_.empty() && order_.front() > order_.back();
    for (int i = 0; i < 32; ++i) {
      const int lane = backwards ? 31 - i : i;
      if (mask >> lane & 1) lanes.push_back(first + unsigned(lane));
    }
    return lanes;
  }

  void check_one_barrier() const {
    const Thread& first = threads_[order_.front()];
    for (unsigned t : order_) {
      const auto& at = threads_[t].at;
      if (at.line() != first.at.line() || std::strcmp(at.file_name(), first.at.file_name()) != 0) {
        fail(t, at, "waits at another barrier than thread " + triple(index_of(order_.front())) + ", which is at " +
                        place(first.at));
      }
    }
  }

  // Leaves the running thread until it is ready again.
  void wait() {
    Fiber& fiber = fibers_[std::size_t(threads_[running_].fiber)];
    fiber.back = std::move(fiber.back).resume();
    if (fault_) throw Abandon{};
  }

  void enter(unsigned thread) {
    running_ = thread;
    current.thread_idx = index_of(thread);
    resume(std::size_t(threads_[thread].fiber));
  }
  void resume(std::size_t fiber) { fibers_[fiber].handle = std::move(fibers_[fiber].handle).resume(); }

  std::size_t idle_fiber() {
    if (!idle_.empty()) {
      const std::size_t i = idle_.back();
      idle_.pop_back();
      return i;
    }
    const std::size_t i = fibers_.size();
    fibers_.emplace_back();
    fibers_[i].handle = ctx::fiber(std::allocator_arg, ctx::protected_fixedsize_stack(stack_bytes),
                                   [this, i](ctx::fiber&& back) {
                                     fibers_[i].back = std::move(back);
                                     for (;;) {
                                       run_fresh_threads(i);
                                       idle_.push_back(i);
                                       fibers_[i].back = std::move(fibers_[i].back).resume();
                                     }
                                     return std::move(fibers_[i].back);
                                   });
    return i;
  }

  void run_fresh_threads(std::size_t fiber) {
    while (next_ < order_.size() && !fault_) {
      const unsigned thread = order_[next_++];
      running_ = thread;
      current.thread_idx = index_of(thread);
      threads_[thread].fiber = int(fiber);
      try {
        thread_(body_);
      } catch (const Abandon&) {
      } catch (const ctx::detail::forced_unwind&) {
        throw;
      } catch (...) {
        if (!fault_) fault_ = std::current_exception();
      }
      threads_[running_].state = State::done;
      ++done_;
      // If this thread waited in between, the scheduler has moved on: hand back to it.
      if (running_switched_) return;
    }
  }

  void schedule() {
    const std::size_t n = order_.size();
    while (done_ < n && !fault_) {
      if (next_ < n) {
        running_switched_ = false;
        const std::size_t fiber = idle_fiber();
        resume(fiber);
      } else if (!ready_.empty()) {
        run_ready();
      } else {
        report_stuck();
      }
    }
  }

  void run_ready() {
    running_switched_ = true;
    if (ready_.size() > 1) {
      batch_.swap(ready_);
      ready_.clear();
      if (order_is_random()) std::shuffle(batch_.begin(), batch_.end(), rng_);
      for (unsigned t : batch_) {
        if (fault_) break;
        enter(t);
      }
      batch_.clear();
    } else {
      const unsigned t = ready_.back();
      ready_.clear();
      enter(t);
    }
  }
  bool order_is_random() const { return sim_options().order == ThreadOrder::random; }

  void report_stuck() {
    unsigned waiting = 0, missing = 0;
    bool have_missing = false;
    bool collective = false;
    for (unsigned t = 0; t < threads_.size(); ++t) {
      if (threads_[t].state == State::at_collective) {
        waiting = t;
        collective = true;
        break;
      }
      if (threads_[t].state == State::at_barrier) waiting = t;
    }
    std::string what;
    if (collective) {
      const Thread& self = threads_[waiting];
      for (unsigned lane = 0; lane < 32; ++lane) {
        const unsigned t = waiting / 32 * 32 + lane;
        if (!(self.mask >> lane & 1)) continue;
        if (t >= threads_.size() || threads_[t].state != State::at_collective) {
          what = "waits in a warp collective for lane " + std::to_string(lane) +
                 (t >= threads_.size()                       ? ", which does not exist"
                  : threads_[t].state == State::done         ? ", which has exited"
                  : threads_[t].state == State::at_barrier   ? ", which waits at the barrier at " + place(threads_[t].at)
                                                             : ", which is elsewhere");
          break;
        }
      }
      if (what.empty()) what = "waits in a warp collective its named lanes do not reach";
    } else {
      for (unsigned t = 0; t < threads_.size() && !have_missing; ++t) {
        if (threads_[t].state == State::done) {
          missing = t;
          have_missing = true;
        }
      }
      what = "waits at a barrier that thread " + triple(index_of(missing)) + " missed: it has exited";
    }
    try {
      fail(waiting, threads_[waiting].at, what);
    } catch (...) {
      fault_ = std::current_exception();
    }
  }

  // Lets every thread that still waits unwind, so that its fiber can be used again.
  void abandon_block() {
    next_ = order_.size();
    running_switched_ = true;
    for (unsigned t = 0; t < threads_.size(); ++t) {
      const State state = threads_[t].state;
      if (state == State::at_barrier || state == State::at_collective ||
          (state == State::ready && threads_[t].fiber >= 0)) {
        enter(t);
      }
    }
  }

  const char* kernel_ = nullptr;
  void (*thread_)(void*) = nullptr;
  void* body_ = nullptr;
  dim3 block_dim_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<SharedArray> shared_;
  Buffer dynamic_shared_;
  std::size_t dynamic_bytes_ = 0;
  std::vector<unsigned> order_, ready_, batch_;
  std::vector<Fiber> fibers_ = [] {
    std::vector<Fiber> fibers;
    fibers.reserve(1024);  // a block's most threads: growing would move a fiber that runs
    return fibers;
  }();
  std::vector<std::size_t> idle_;
  std::mt19937_64 rng_;
  std::size_t next_ = 0, done_ = 0;
  std::size_t waiting_ = 0;
  unsigned running_ = 0;
  bool running_switched_ = false;
  std::exception_ptr fault_;
};

thread_local BlockExecutor* executor = nullptr;

std::mutex options_mutex;
SimOptions options_now;

// OS threads that wait for grids. The launching thread works too.
class Pool {
 public:
  ~Pool() { resize(1); }

  void run(const char* kernel, const LaunchShape& shape, void (*thread)(void*), void* body) {
    const std::lock_guard one_at_a_time(launch_mutex_);
    const SimOptions options = sim_options();
    const int cores = int(std::max(1u, std::thread::hardware_concurrency()));
    resize(options.threads > 0 ? options.threads : cores);
    {
      const std::lock_guard lock(mutex_);
      blocks_ = std::uint64_t(shape.grid.x) * shape.grid.y * shape.grid.z;
      next_block_ = 0;
      fault_ = nullptr;
      busy_ = int(workers_.size());
      job_ = [=, this](BlockExecutor& mine) {
        for (;;) {
          const std::uint64_t b = next_block_.fetch_add(1, std::memory_order_relaxed);
          if (b >= blocks_) return;
          const uint3 block{unsigned(b % shape.grid.x), unsigned(b / shape.grid.x % shape.grid.y),
                            unsigned(b / shape.grid.x / shape.grid.y)};
          try {
            mine.run_block(kernel, shape, block, thread, body, options);
          } catch (...) {
            const std::lock_guard fault_lock(mutex_);
            if (!fault_) fault_ = std::current_exception();
            next_block_ = blocks_;
            return;
          }
        }
      };
      ++generation_;
    }
    // One block is not worth waking anybody for, but the count of the busy must come down all the same.
    wake_.notify_all();
    work(launcher_);
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [&] { return busy_ == 0; });
    job_ = nullptr;
    if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
  }

 private:
  void work(BlockExecutor& mine) {
    BlockExecutor* const before = std::exchange(executor, &mine);
    job_(mine);
    executor = before;
  }

  void resize(int threads) {
    const std::size_t want = std::size_t(std::max(0, threads - 1));
    if (workers_.size() == want) return;
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    workers_.clear();  // joins
    stop_ = false;
    for (std::size_t i = 0; i < want; ++i) {
      workers_.emplace_back([this, seen = generation_]() mutable {
        BlockExecutor mine;
        std::unique_lock lock(mutex_);
        for (;;) {
          wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
          if (stop_) return;
          seen = generation_;
          lock.unlock();
          work(mine);
          lock.lock();
          if (--busy_ == 0) finished_.notify_one();
        }
      });
    }
  }

  std::mutex launch_mutex_, mutex_;
  std::condition_variable wake_, finished_;
  std::vector<std::jthread> workers_;
  BlockExecutor launcher_;
  std::function<void(BlockExecutor&)> job_;
  std::atomic<std::uint64_t> next_block_ = 0;
  std::uint64_t blocks_ = 0, generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  std::exception_ptr fault_;
};

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_sim_options(const SimOptions& options) {
  const std::lock_guard lock(options_mutex);
  options_now = options;
}
SimOptions sim_options() {
  const std::lock_guard lock(options_mutex);
  return options_now;
}

void run_grid(const char* kernel, const LaunchShape& shape, void (*thread)(void*), void* body) {
  const auto threads = std::uint64_t(shape.block.x) * shape.block.y * shape.block.z;
  if (threads == 0 || threads > 1024 || shape.block.z > 64 || shape.grid.y > 65535 || shape.grid.z > 65535 ||
      shape.grid.x > 0x7fffffffu || shape.shared_bytes > 227 * 1024) {
    throw Error("kernel " + kernel_name(kernel) + ": a grid of " + triple({shape.grid.x, shape.grid.y, shape.grid.z}) +
                " blocks of " + triple({shape.block.x, shape.block.y, shape.block.z}) + " threads with " +
                std::to_string(shape.shared_bytes) + " bytes of shared memory cannot be launched on any GPU");
  }
  if (std::uint64_t(shape.grid.x) * shape.grid.y * shape.grid.z == 0) return;
  pool().run(kernel, shape, thread, body);
}

void block_barrier(const std::source_location& at) { executor->barrier(at); }

WarpView warp_exchange(WarpOp op, unsigned mask, std::uint64_t value, const std::source_location& at) {
  return executor->collective(op, mask, value, at);
}

std::uint64_t WarpView::value(int lane, const std::source_location& at) const {
  if (!(mask >> lane & 1)) {
    executor->fail(executor->running(), at,
                   "reads lane " + std::to_string(lane) + " in a warp collective whose mask leaves that lane out");
  }
  return values[lane];
}

void* shared_array(const char* name, const char* file, int line, std::size_t bytes) {
  return executor->shared(name, file, line, bytes);
}
void* shared_dynamic() { return executor->dynamic_shared(); }

}  // namespace retrace::simt
