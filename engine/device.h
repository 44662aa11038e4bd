// A device: memory, one stream, and the table of kernels that run on it. Either a GPU or the simulator.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/stream.h"
#include "kernels/table.h"

namespace retrace {

enum class DeviceKind : std::uint8_t { sim, cuda };

struct DeviceInfo {
  std::string id;  // what --device takes: "sim", "cuda:0"
  DeviceKind kind = DeviceKind::sim;
  std::string name;        // "NVIDIA H200", "simulator on 2 cores"
  std::size_t memory = 0;  // bytes; 0: not known
  std::string detail;      // compute capability, driver; or what keeps the device from being used
  bool usable = true;
};

struct MemoryStats {
  std::size_t held = 0;  // bytes in live allocations
  std::size_t peak = 0;  // the most that was ever held
};

class Device {
 public:
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // "auto" (the first GPU, else the simulator), "cuda", "cuda:N" or "sim". UsageError for any other word, Error
  // where the device is not there.
  static std::unique_ptr<Device> open(const std::string& spec);
  // Every device this build knows, usable or not.
  static std::vector<DeviceInfo> list();

  const DeviceInfo& info() const { return info_; }
  DeviceKind kind() const { return info_.kind; }
  const kernels::KernelTable& kernels() const { return *kernels_; }
  Stream stream() const { return stream_; }

  // Device memory, 256-byte aligned, contents undefined. Ordered with the stream: it may be released as soon as
  // the last launch that uses it has been issued. Throws OutOfMemory naming the request and what is held.
  void* allocate(std::size_t bytes);
  void release(void* memory, std::size_t bytes) noexcept;
  MemoryStats memory() const { return stats_; }
  void reset_peak() { stats_.peak = stats_.held; }
  // An upper bound on what may be held at once, 0 for none; for tests and shared machines.
  void limit_memory(std::size_t bytes) { limit_ = bytes; }

  // All in stream order. `download` waits for the result.
  virtual void upload(void* device, const void* host, std::size_t bytes) = 0;
  virtual void download(void* host, const void* device, std::size_t bytes) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void zero(void* device, std::size_t bytes) = 0;
  virtual void synchronize() = 0;

 protected:
  Device(DeviceInfo info, const kernels::KernelTable& kernels) : info_(std::move(info)), kernels_(&kernels) {}
  // Null when there is no memory.
  virtual void* do_allocate(std::size_t bytes) = 0;
  virtual void do_release(void* memory, std::size_t bytes) noexcept = 0;

  DeviceInfo info_;
  const kernels::KernelTable* kernels_;
  Stream stream_;

 private:
  MemoryStats stats_;
  std::size_t limit_ = 0;
};

// Memory that releases itself. Empty by default.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, std::size_t bytes)
      : device_(&device), data_(device.allocate(bytes)), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (data_) device_->release(data_, bytes_);
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace retrace
