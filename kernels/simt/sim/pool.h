// OS threads that wait for grids; the launching thread works too.
#pragma once
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/simt/sim/executor.h"

namespace retrace::simt {

class Pool {
 public:
  ~Pool() { resize(0); }

  // Runs every block of the launch and rethrows the first fault. Launches from several threads take turns.
  void run(const Launch& launch);

 private:
  void work(BlockExecutor& mine);
  void resize(std::size_t workers);
  void worker();

  std::mutex launch_mutex_;  // held for a whole launch
  BlockExecutor launcher_;   // of whoever holds it

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_, finished_;
  std::size_t wanted_ = 0;  // workers the launch still has use for
  std::size_t active_ = 0;
  bool stop_ = false;
  std::exception_ptr fault_;

  std::vector<std::thread> workers_;
  const Launch* launch_ = nullptr;
  std::uint64_t blocks_ = 0;
  std::uint64_t stride_ = 1, offset_ = 0;  // of the random order of blocks
  std::atomic<std::uint64_t> next_block_ = 0;
};

}  // namespace retrace::simt
