#include "engine/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/device_backends.h"

namespace retrace {

void* Device::allocate(std::size_t bytes) {
  const auto describe = [&](const char* why) {
    return fmt::format("device {}: no memory for {} bytes ({} bytes held, {} at the peak{})", info_.id, bytes,
                       stats_.held, stats_.peak, why);
  };
  if (limit_ && (bytes > limit_ || stats_.held > limit_ - bytes)) {
    throw OutOfMemory(describe(fmt::format("; limit {} bytes", limit_).c_str()));
  }
  void* const memory = do_allocate(std::max<std::size_t>(bytes, 1));
  if (!memory) throw OutOfMemory(describe(""));
  stats_.held += bytes;
  stats_.peak = std::max(stats_.peak, stats_.held);
  return memory;
}

void Device::release(void* memory, std::size_t bytes) noexcept {
  if (!memory) return;
  stats_.held -= bytes;
  do_release(memory, std::max<std::size_t>(bytes, 1));
}

std::vector<DeviceInfo> Device::list() {
  std::vector<DeviceInfo> devices = backends::list_cuda();
  devices.push_back(backends::describe_sim());
  return devices;
}

std::unique_ptr<Device> Device::open(const std::string& spec) {
  if (spec == "sim") return backends::open_sim();
  const auto cuda = backends::list_cuda();
  const auto usable = std::find_if(cuda.begin(), cuda.end(), [](const DeviceInfo& d) { return d.usable; });
  if (spec == "auto") {
    return usable == cuda.end() ? backends::open_sim() : backends::open_cuda(int(usable - cuda.begin()));
  }
  if (spec == "cuda") {
    if (usable != cuda.end()) return backends::open_cuda(int(usable - cuda.begin()));
    throw Error("device cuda: " + (cuda.empty() ? backends::why_no_cuda() : cuda.front().detail));
  }
  if (spec.starts_with("cuda:") && spec.size() > 5 && spec.size() < 9 &&
      std::all_of(spec.begin() + 5, spec.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    const int index = std::stoi(spec.substr(5));
    if (index >= int(cuda.size())) {
      throw Error(fmt::format(
          "device {}: {}", spec,
          cuda.empty() ? backends::why_no_cuda() : fmt::format("there are only {} GPUs", cuda.size())));
    }
    if (!cuda[std::size_t(index)].usable)
      throw Error("device " + spec + ": " + cuda[std::size_t(index)].detail);
    return backends::open_cuda(index);
  }
  throw UsageError("device '" + spec + "': expected auto, cuda, cuda:N or sim");
}

}  // namespace retrace
