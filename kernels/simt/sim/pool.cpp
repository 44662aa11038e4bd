#include "kernels/simt/sim/pool.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace retrace::simt {

__extension__ using Wide = unsigned __int128;

void Pool::run(const Launch& launch) {
  const std::lock_guard one_at_a_time(launch_mutex_);
  static const int cores = int(std::max(1u, std::thread::hardware_concurrency()));  // asks the system: 7 µs
  int threads = launch.options.threads > 0 ? launch.options.threads : cores;
  if (launch.options.check_global_races) threads = 1;  // blocks share what they are compared by
  resize(std::size_t(threads - 1));

  const dim3 grid = launch.shape.grid;
  blocks_ = std::uint64_t(grid.x) * grid.y * grid.z;
  if (launch.options.order == ThreadOrder::random) {
    // i → offset + stride · i visits every block once: stride and the number of blocks have no common factor.
    stride_ = launch.options.seed % blocks_ * 2 + 1;
    while (std::gcd(stride_, blocks_) != 1) stride_ += 2;
    stride_ %= blocks_;
    offset_ = launch.options.seed / 3 % blocks_;
  }
  const auto helpers = std::size_t(std::min<std::uint64_t>(workers_.size(), blocks_ - 1));
  {
    const std::lock_guard lock(mutex_);
    launch_ = &launch;
    next_block_ = 0;
    fault_ = nullptr;
    wanted_ = helpers;
  }
  if (helpers > 0) wake_.notify_all();
  work(launcher_);
  std::unique_lock lock(mutex_);
  wanted_ = 0;  // who has not woken by now need not
  finished_.wait(lock, [&] { return active_ == 0; });
  launch_ = nullptr;
  if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
}

void Pool::work(BlockExecutor& mine) {
  const dim3 grid = launch_->shape.grid;
  try {
    mine.begin_launch(*launch_);
    for (;;) {
      const std::uint64_t i = next_block_.fetch_add(1, std::memory_order_relaxed);
      if (i >= blocks_) return;
      std::uint64_t b = i;
      if (launch_->options.order == ThreadOrder::reverse) b = blocks_ - 1 - i;
      if (launch_->options.order == ThreadOrder::random) {
        b = std::uint64_t((Wide(i) * stride_ + offset_) % blocks_);
      }
      mine.run_block({unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)});
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!fault_) fault_ = std::current_exception();
    next_block_ = blocks_;
  }
}

void Pool::resize(std::size_t workers) {
  if (workers_.size() == workers) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : workers_) thread.join();
  workers_.clear();
  stop_ = false;
  while (workers_.size() < workers) workers_.emplace_back([this] { worker(); });
}

void Pool::worker() {
  BlockExecutor mine;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || wanted_ > 0; });
    if (stop_) return;
    --wanted_;
    ++active_;
    lock.unlock();
    work(mine);
    lock.lock();
    if (--active_ == 0) finished_.notify_one();
  }
}

}  // namespace retrace::simt
