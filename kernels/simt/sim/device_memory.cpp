#include "kernels/simt/device_memory.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>

#include "kernels/simt/sim/memory_registry.h"
#include "kernels/simt/sim_runtime.h"

namespace retrace::simt {
namespace {

constexpr std::size_t alignment = 256;
constexpr std::size_t guard_bytes = 4096;
// Freed blocks are kept that much and that many, so that a use after the free shows.
constexpr std::size_t max_freed_bytes = std::size_t(64) << 20;
constexpr std::size_t max_freed_blocks = 512;

class Registry {
 public:
  void add(const void* memory, std::size_t bytes, std::size_t guard) {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    const std::lock_guard lock(mutex_);
    blocks_[begin - guard] = {begin, begin + bytes, begin - guard, begin + bytes + guard, false};
    snapshot_ = nullptr;
  }
  void remove(const void* memory) {
    const std::lock_guard lock(mutex_);
    if (const auto block = find(memory); block != blocks_.end()) blocks_.erase(block);
    snapshot_ = nullptr;
  }

  // Marks a block as freed and gives back the oldest ones when too many bytes wait.
  void retire(void* memory) {
    const std::lock_guard lock(mutex_);
    snapshot_ = nullptr;
    const auto block = find(memory);
    if (block == blocks_.end()) return;
    block->second.freed = true;
    freed_.push_back(block->second);
    freed_bytes_ += freed_.back().end - freed_.back().begin;
    while ((freed_bytes_ > max_freed_bytes && freed_.size() > 1) || freed_.size() > max_freed_blocks) {
      const MemoryBlock oldest = freed_.front();
      freed_.pop_front();
      freed_bytes_ -= oldest.end - oldest.begin;
      blocks_.erase(oldest.zone_begin);
      std::free(reinterpret_cast<void*>(oldest.zone_begin));
    }
  }

  std::shared_ptr<const std::vector<MemoryBlock>> snapshot() {
    const std::lock_guard lock(mutex_);
    if (!snapshot_) {
      auto blocks = std::make_shared<std::vector<MemoryBlock>>();
      for (const auto& [begin, block] : blocks_) blocks->push_back(block);
      snapshot_ = std::move(blocks);
    }
    return snapshot_;
  }

 private:
  using Blocks = std::map<std::uintptr_t, MemoryBlock>;
  Blocks::iterator find(const void* memory) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    auto block = blocks_.upper_bound(address);
    if (block == blocks_.begin()) return blocks_.end();
    --block;
    return block->second.begin == address ? block : blocks_.end();
  }

  std::mutex mutex_;
  Blocks blocks_;
  std::deque<MemoryBlock> freed_;
  std::size_t freed_bytes_ = 0;
  std::shared_ptr<const std::vector<MemoryBlock>> snapshot_;
};

Registry& registry() {
  static auto* const instance = new Registry;  // outlives every static that frees device memory at exit
  return *instance;
}

}  // namespace

void* device_allocate(std::size_t bytes) {
  const std::size_t guards = sim_racecheck ? 2 * guard_bytes : 0;
  void* p = nullptr;
  if (bytes > std::size_t(1) << 46) return nullptr;
  if (posix_memalign(&p, alignment, std::max<std::size_t>(bytes, 1) + guards) != 0) return nullptr;
  if (!sim_racecheck) return p;
  void* const memory = static_cast<char*>(p) + guard_bytes;
  registry().add(memory, bytes, guard_bytes);
  return memory;
}

void device_free(void* memory) noexcept {
  if (!memory) return;
  if (sim_racecheck) {
    registry().retire(memory);
  } else {
    std::free(memory);
  }
}

void register_memory(const void* memory, std::size_t bytes, std::size_t guard) {
  if (sim_racecheck) registry().add(memory, bytes, guard);
}
void unregister_memory(const void* memory) noexcept {
  if (sim_racecheck) registry().remove(memory);
}

std::shared_ptr<const std::vector<MemoryBlock>> memory_blocks() {
  return registry().snapshot();
}

}  // namespace retrace::simt
