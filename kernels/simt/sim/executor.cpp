#include "kernels/simt/sim/executor.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace retrace::simt {

thread_local constinit ThreadVariables current;
thread_local constinit BlockExecutor* executor = nullptr;

namespace {

// splitmix64; unlike <random>'s engines it has no state worth seeding for each block.
std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}
void shuffle(unsigned* values, unsigned count, std::uint64_t& state) {
  for (unsigned i = count; i > 1; --i) std::swap(values[i - 1], values[next_random(state) % i]);
}

bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() &&
         (a.file_name() == b.file_name() || !std::strcmp(a.file_name(), b.file_name()));
}

}  // namespace

void BlockExecutor::begin_launch(const Launch& launch) {
  launch_ = &launch;
  const dim3 shape = launch.shape.block;
  size_ = shape.x * shape.y * shape.z;
  if (shape.x != indexed_shape_.x || shape.y != indexed_shape_.y || shape.z != indexed_shape_.z) {
    index_.clear();
    for (unsigned i = 0; i < size_; ++i) {
      index_.push_back({i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y});
    }
    indexed_shape_ = shape;
  }
  order_.resize(size_);
  for (unsigned i = 0; i < size_; ++i) {
    order_[i] = launch.options.order == ThreadOrder::reverse ? size_ - 1 - i : i;
  }
  shared_.begin_launch(launch.shape.shared_bytes);
  if (sim_racecheck) shadow_.begin_launch(launch.kernel, size_, launch.memory, launch.options);
}

void BlockExecutor::run_block(uint3 block) {
  block_ = block;
  current.block_idx = block;
  current.block_dim = launch_->shape.block;
  current.grid_dim = launch_->shape.grid;
  threads_.assign(size_, {});
  arrived_.assign((size_ + 31) / 32, 0);
  shared_.begin_block();
  // What the last block did not wait for was on its way to memory that is gone.
  for (auto& copies : copies_) {
    if (sim_racecheck) {
      for (const auto& copy : copies.pending) shadow_.end_copy(copy.to, 16);
    }
    copies.pending.clear();
    copies.groups = 0;
  }
  if (sim_racecheck) shadow_.begin_block(block);
  if (launch_->options.order == ThreadOrder::random) {
    random_ = launch_->options.seed * 0x9e3779b97f4a7c15ull + block.x + (std::uint64_t(block.y) << 31) +
              (std::uint64_t(block.z) << 47);
    shuffle(order_.data(), size_, random_);
  }
  ready_.clear();
  next_ready_ = next_fresh_ = done_ = 0;
  at_barrier_ = 0;
  predicates_ = 0;

  BlockExecutor* const outer = std::exchange(executor, this);
  main_ = {};
  try {
    switch_context(main_, next_context());
  } catch (...) {
    exception_ = std::current_exception();  // no stack for the first thread
  }
  executor = outer;
  if (sim_racecheck) watching = nullptr;

  if (done_ == size_ && fault_.empty() && !exception_) {
    if (sim_racecheck) shadow_.end_block();
    return;
  }
  if (fault_.empty() && !exception_) fault_ = stuck_message();
  fibers_.forget_all();
  if (sim_racecheck) shadow_.forget();
  if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  throw SimError(std::exchange(fault_, {}));
}

// Whom to switch to: a thread that is ready, one that has not begun, or back to run_block.
Context& BlockExecutor::next_context() {
  if (next_ready_ < ready_.size()) {
    running_ = ready_[next_ready_++];
    if (next_ready_ == ready_.size()) {
      ready_.clear();
      next_ready_ = 0;
    }
    Thread& thread = threads_[running_];
    thread.state = State::running;
    current.thread_idx = index_[running_];
    return fibers_[thread.fiber];
  }
  if (next_fresh_ < size_) {
    const int fiber = fibers_.start(enter_thread);
    begin_next_thread(fiber);
    return fibers_[fiber];
  }
  return main_;
}

bool BlockExecutor::begin_next_thread(int fiber) {
  if (next_fresh_ == size_) return false;
  running_ = order_[next_fresh_++];
  Thread& thread = threads_[running_];
  thread.state = State::running;
  thread.fiber = fiber;
  current.thread_idx = index_[running_];
  return true;
}

void BlockExecutor::enter_thread() {
  executor->run_threads();
}

// The bottom of every fiber. Each thread may have waited in between, so what was true of `this` before a call
// of the kernel holds after it only where it is about the running thread.
void BlockExecutor::run_threads() {
  const int fiber = threads_[running_].fiber;
  for (;;) {
    if (sim_racecheck) watching = &shadow_;
    try {
      launch_->thread(launch_->body);
    } catch (...) {
      exception_ = std::current_exception();
    }
    if (sim_racecheck) watching = nullptr;
    if (exception_) give_up();
    end_thread();
    const bool somebody_is_ready = next_ready_ < ready_.size();
    if (somebody_is_ready || !begin_next_thread(fiber)) break;
  }
  fibers_.finish(fiber);
  // Nobody fresh is left or somebody is ready: no new fiber is begun here, on this very stack.
  leave_context(fibers_[fiber], next_context());
}

void BlockExecutor::end_thread() {
  threads_[running_].state = State::done;
  ++done_;
}

void BlockExecutor::wait(State state, const std::source_location& at) {
  Thread& self = threads_[running_];
  self.state = state;
  self.at = at;
  // Where no further stack can be had, the exception leaves through the kernel like any other.
  Context &mine = fibers_[self.fiber], &next = next_context();
  if (&next != &mine) switch_context(mine, next);
}

void BlockExecutor::give_up() {
  leave_context(fibers_[threads_[running_].fiber], main_);
}

void BlockExecutor::fault_at(CallSite at, std::string&& what) {
  fault_ = describe(running_, at.place(), what);
  std::string().swap(what);  // nobody will run its destructor
  give_up();
}

void BlockExecutor::release(const unsigned* threads, unsigned count) {
  const std::size_t first = ready_.size();
  ready_.insert(ready_.end(), threads, threads + count);
  if (launch_->options.order == ThreadOrder::random) shuffle(ready_.data() + first, count, random_);
}

int BlockExecutor::barrier(bool predicate, const std::source_location& at) {
  if (at_barrier_ == 0) {
    barrier_at_ = at;
    predicates_ = 0;
  } else if (!same_place(at, barrier_at_)) {
    fault_ = other_barrier_message(at);
    give_up();
  }
  predicates_ += predicate;
  if (++at_barrier_ == size_) {
    at_barrier_ = 0;
    result_ = predicates_;
    if (sim_racecheck) shadow_.barrier();
    release(order_.data(), size_);  // itself among them
  }
  wait(State::at_barrier, at);
  return result_;
}

void BlockExecutor::collective(WarpFunction together, unsigned mask, void* operand,
                               const std::source_location& at) {
  const unsigned self = running_, lane = self % 32, first = self - lane;
  if (!(mask >> lane & 1)) fault_at(at, "calls a warp collective whose mask leaves its own lane out");
  Thread& thread = threads_[self];
  thread.together = together;
  thread.mask = mask;
  thread.operand = operand;
  thread.at = at;
  unsigned& arrived = arrived_[self / 32];
  arrived |= 1u << lane;
  if ((arrived & mask) != mask) {
    wait(State::at_collective, at);
    return;
  }
  void* operands[32] = {};
  unsigned others[32], count = 0;
  const bool reverse = launch_->options.order == ThreadOrder::reverse;
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned l = reverse ? 31 - i : i;
    if (!(mask >> l & 1)) continue;
    const Thread& peer = threads_[first + l];
    if (peer.mask != mask) {  // it has another meeting first
      wait(State::at_collective, at);
      return;
    }
    if (peer.together != together || !same_place(peer.at, at)) {
      fault_ = other_collective_message(self, first + l);
      give_up();
    }
    operands[l] = peer.operand;
    if (l != lane) others[count++] = first + l;
  }
  // The last to come works for all, and goes on at once.
  arrived &= ~mask;
  if (sim_racecheck) shadow_.warp_sync(first, mask);
  if (together) together(operands, mask);
  release(others, count);
}

void* BlockExecutor::shared(const SharedTag* tag, std::size_t bytes) {
  void* const array = shared_.array(tag, bytes);
  if (!array) {
    fault_at(CallSite(tag->file, unsigned(tag->line)),
             std::string("needs ") + std::to_string(bytes) + " bytes for shared array " + tag->name +
                 ", which takes the block's static shared memory past the 48 KiB that nvcc accepts");
  }
  return array;
}

void BlockExecutor::copy_async(void* shared, const void* global, int bytes, const std::source_location& at) {
  if (bytes < 0 || bytes > 16 || reinterpret_cast<std::uintptr_t>(shared) % 16 ||
      (bytes > 0 && reinterpret_cast<std::uintptr_t>(global) % 16)) {
    fault_at(at, "calls cp_async_16 with a size outside 0…16 or an address that is not a multiple of 16");
  }
  if (sim_racecheck) {
    if (bytes > 0) note(global, std::size_t(bytes), Access::read, at);
    note(shared, 16, Access::write, at);
    shadow_.begin_copy(shared, 16);
  }
  if (copies_.size() < size_) copies_.resize(size_);
  Copies& mine = copies_[running_];
  PendingCopy copy{shared, mine.groups, at, {}};
  if (bytes > 0) std::memcpy(copy.data, global, std::size_t(bytes));
  std::memset(shared, 0xff, 16);
  mine.pending.push_back(copy);
}

void BlockExecutor::copy_async_commit() {
  if (copies_.size() < size_) copies_.resize(size_);
  ++copies_[running_].groups;
}

void BlockExecutor::copy_async_wait(int groups_left) {
  if (copies_.size() <= running_) return;
  const std::size_t groups = copies_[running_].groups;
  if (groups > std::size_t(groups_left)) complete_copies(running_, groups - std::size_t(groups_left));
}

// Lands the copies of the groups numbered below `below_group`, oldest first.
void BlockExecutor::complete_copies(unsigned thread, std::size_t below_group) {
  auto& pending = copies_[thread].pending;
  auto copy = pending.begin();
  for (; copy != pending.end() && copy->group < below_group; ++copy) {
    std::memcpy(copy->to, copy->data, 16);
    if (sim_racecheck) {
      shadow_.end_copy(copy->to, 16);
      note(copy->to, 16, Access::write, copy->at);
    }
  }
  pending.erase(pending.begin(), copy);
}

void BlockExecutor::note(const void* memory, std::size_t bytes, Access access, CallSite at) {
  if (!sim_racecheck) return;
  if (shadow_.check(running_, reinterpret_cast<std::uintptr_t>(memory), bytes, access, at)) return;
  fault_ = describe(running_, at.place(), shadow_.fault());
  give_up();
}

}  // namespace retrace::simt
