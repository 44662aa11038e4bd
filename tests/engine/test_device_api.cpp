// Device, memory and tensors.
#include <doctest/doctest.h>

#include "engine/tensor.h"
#include "tests/common/test_device.h"

using namespace retrace;

TEST_CASE("devices are listed, and opened by name") {
  const auto devices = Device::list();
  REQUIRE(!devices.empty());
  CHECK(devices.back().id == "sim");
  CHECK(Device::open("sim")->kind() == DeviceKind::sim);
  CHECK_NOTHROW(Device::open("auto"));
  for (const char* wrong : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:12345", "SIM"}) {
    CAPTURE(wrong);
    CHECK_THROWS_WITH_AS(Device::open(wrong), doctest::Contains("expected auto, cuda, cuda:N or sim"),
                         UsageError);
  }
  CHECK_THROWS_WITH_AS(Device::open("cuda:99"), doctest::Contains("cuda:99"), Error);
  if (devices.size() == 1)
    CHECK_THROWS_WITH_AS(Device::open("cuda"), doctest::Contains("--device sim"), Error);
}

TEST_CASE("tensors move to the device and back") {
  Device& device = test_device();
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const Tensor t = Tensor::from_host(device, {2, 3}, values);
  CHECK(t.to_host() == values);
  CHECK(t.reshape({6}).to_host() == values);
  CHECK(t.reshape({3, 2}).data() == t.data());
  CHECK_THROWS_WITH_AS(t.reshape({4}), doctest::Contains("[2, 3] cannot be reshaped to [4]"), Error);
  CHECK_THROWS_WITH_AS(t.data<std::int32_t>(), doctest::Contains("holds f32, asked for i32"), Error);
  CHECK_THROWS_WITH_AS(Tensor::from_host(device, {2, 2}, values),
                       doctest::Contains("6 values given, 4 needed"), Error);
  CHECK_THROWS_AS(Tensor(device, {-1, 2}), Error);
  CHECK_THROWS_AS(Tensor(device, {1LL << 40, 1LL << 40}), Error);
  Tensor copy(device, {2, 3});
  device.copy(copy.raw(), t.raw(), t.bytes());
  CHECK(copy.to_host() == values);
  device.zero(copy.raw(), copy.bytes());
  CHECK(copy.to_host() == std::vector<float>(6, 0.0f));
  CHECK(Tensor(device, {0, 3}).to_host().empty());
}

TEST_CASE("memory is counted, released with the last copy, and refused beyond what there is") {
  Device& device = test_device();
  const std::size_t before = device.memory().held;
  {
    Tensor a(device, {1000});
    CHECK(device.memory().held == before + 4000);
    const Tensor b = a;
    a = Tensor();
    CHECK(device.memory().held == before + 4000);
  }
  CHECK(device.memory().held == before);
  CHECK(device.memory().peak >= before + 4000);
  CHECK_THROWS_WITH_AS(Tensor(device, {1LL << 44}), doctest::Contains("bytes held"), OutOfMemory);
  device.limit_memory(before + 100);
  CHECK_THROWS_WITH_AS(Tensor(device, {26}), doctest::Contains("limit"), OutOfMemory);
  CHECK_NOTHROW(Tensor(device, {25}));
  device.limit_memory(0);
}

TEST_CASE("the two targets have every launcher") {
  const auto full = [](const kernels::KernelTable& table) {
    const auto* entry = reinterpret_cast<void (*const*)()>(&table);
    for (std::size_t i = 0; i < sizeof(table) / sizeof(*entry); ++i) {
      if (!entry[i]) return false;
    }
    return true;
  };
  CHECK(full(kernels::sim_table()));
  if (const auto* cuda = kernels::cuda_table()) CHECK(full(*cuda));
}
