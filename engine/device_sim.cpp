// The simulator's memory is the host's.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

#include "engine/device_backends.h"
#include "kernels/simt/device_memory.h"

#if defined(__SANITIZE_ADDRESS__) || defined(RETRACE_RACECHECK)
#define RETRACE_KEEPS_FREED 0
#else
#define RETRACE_KEEPS_FREED 1
#endif

namespace retrace::backends {
namespace {

class SimDevice final : public Device {
 public:
  SimDevice() : Device(describe_sim(), kernels::sim_table()) {}
  ~SimDevice() override { drop_kept(); }

  void upload(void* device, const void* host, std::size_t bytes) override { move(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { move(host, device, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) override { move(to, from, bytes); }
  void zero(void* device, std::size_t bytes) override {
    if (bytes) std::memset(device, 0, bytes);
  }
  void synchronize() override {}

 protected:
  // Freed blocks are kept by size, for a network asks for the same sizes again and again and fresh pages cost
  // more than the arithmetic on them. Under a sanitizer every block is new and exactly as long as asked, so that
  // each overrun and each use after release is seen.
  void* do_allocate(std::size_t bytes) override {
    if (auto kept = free_.find(bytes); kept != free_.end() && !kept->second.empty()) {
      void* const block = kept->second.back();
      kept->second.pop_back();
      kept_bytes_ -= bytes;
      return block;
    }
    if (bytes > std::size_t(1) << 46) return nullptr;
    void* block = simt::device_allocate(bytes);
    if (!block && kept_bytes_) {
      // What is kept may be all that is missing.
      drop_kept();
      block = simt::device_allocate(bytes);
    }
    if (block && !RETRACE_KEEPS_FREED)
      std::memset(block, 0xff, bytes);  // NaN: reading what nobody wrote shows
    return block;
  }
  void do_release(void* memory, std::size_t bytes) noexcept override {
    if (RETRACE_KEEPS_FREED && kept_bytes_ + bytes <= max_kept_bytes) {
      try {
        free_[bytes].push_back(memory);
        kept_bytes_ += bytes;
        return;
      } catch (const std::bad_alloc&) {
      }
    }
    simt::device_free(memory);
  }

 private:
  void drop_kept() noexcept {
    for (auto& [bytes, blocks] : free_) {
      for (void* block : blocks) simt::device_free(block);
    }
    free_.clear();
    kept_bytes_ = 0;
  }
  static void move(void* to, const void* from, std::size_t bytes) {
    if (bytes) std::memmove(to, from, bytes);
  }

  static constexpr std::size_t max_kept_bytes = std::size_t(1) << 30;
  std::map<std::size_t, std::vector<void*>> free_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace

DeviceInfo describe_sim() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  return {"sim",
          DeviceKind::sim,
          "simulator on " + std::to_string(cores) + (cores == 1 ? " core" : " cores"),
          pages > 0 && page > 0 ? std::size_t(pages) * std::size_t(page) : 0,
          "",
          true};
}

std::unique_ptr<Device> open_sim() {
  return std::make_unique<SimDevice>();
}

}  // namespace retrace::backends
