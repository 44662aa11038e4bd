// The GPU's memory and stream, through the CUDA runtime. Compiled by the host compiler; without CUDA it only
// says so.
#include "engine/device_backends.h"

#ifndef RETRACE_HAS_CUDA

namespace retrace::backends {

std::vector<DeviceInfo> list_cuda() {
  return {};
}
std::string why_no_cuda() {
  return "this build has no CUDA (no nvcc was found); use --device sim";
}
std::unique_ptr<Device> open_cuda(int) {
  throw Error("device cuda: " + why_no_cuda());
}

}  // namespace retrace::backends

#else

#include <cuda_runtime.h>
#include <fmt/format.h>

namespace retrace::backends {
namespace {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();
  throw Error(fmt::format("{}: {} ({})", call, cudaGetErrorString(status), cudaGetErrorName(status)));
}
#define CHECK(call) check(call, #call)

DeviceInfo describe(int index) {
  cudaDeviceProp properties{};
  CHECK(cudaGetDeviceProperties(&properties, index));
  int driver = 0;
  CHECK(cudaDriverGetVersion(&driver));
  DeviceInfo info{
      fmt::format("cuda:{}", index),
      DeviceKind::cuda,
      properties.name,
      properties.totalGlobalMem,
      fmt::format("compute capability {}.{}, {} multiprocessors, driver for CUDA {}.{}", properties.major,
                  properties.minor, properties.multiProcessorCount, driver / 1000, driver % 1000 / 10),
      true};
  int pools = 0;
  CHECK(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, index));
  if (properties.major < 8 || !pools) {
    info.usable = false;
    info.detail +=
        properties.major < 8 ? "; 8.0 or later is needed" : "; it has no stream-ordered memory pool";
  }
  return info;
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : Device(describe(index), *kernels::cuda_table()), index_(index) {
    CHECK(cudaSetDevice(index_));
    cudaStream_t stream = nullptr;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    stream_.native = stream;
    cudaMemPool_t pool = nullptr;
    CHECK(cudaDeviceGetDefaultMemPool(&pool, index_));
    std::uint64_t keep_everything = UINT64_MAX;
    CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_everything));
  }
  ~CudaDevice() override {
    (void)cudaStreamSynchronize(stream());
    (void)cudaStreamDestroy(stream());
  }

  void upload(void* device, const void* host, std::size_t bytes) override {
    CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream()));
    CHECK(cudaStreamSynchronize(stream()));  // the caller's memory may be gone after this call
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()));
    CHECK(cudaStreamSynchronize(stream()));
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()));
  }
  void zero(void* device, std::size_t bytes) override { CHECK(cudaMemsetAsync(device, 0, bytes, stream())); }
  void synchronize() override { CHECK(cudaStreamSynchronize(stream())); }

 protected:
  void* do_allocate(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMallocAsync(&memory, bytes, stream());
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      return nullptr;
    }
    check(status, "cudaMallocAsync");
    return memory;
  }
  void do_release(void* memory, std::size_t) noexcept override { (void)cudaFreeAsync(memory, stream()); }

 private:
  cudaStream_t stream() const { return static_cast<cudaStream_t>(stream_.native); }
  int index_;
};

}  // namespace

std::vector<DeviceInfo> list_cuda() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();
    return {};
  }
  std::vector<DeviceInfo> devices;
  for (int i = 0; i < count; ++i) devices.push_back(describe(i));
  return devices;
}

std::string why_no_cuda() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();
  return fmt::format("no GPU is found ({}); use --device sim",
                     status == cudaSuccess ? "the driver lists none" : cudaGetErrorString(status));
}

std::unique_ptr<Device> open_cuda(int index) {
  return std::make_unique<CudaDevice>(index);
}

}  // namespace retrace::backends

#endif
