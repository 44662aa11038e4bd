// Seeded parameters against the values that Python made (tools/reference/generate.py), bit for bit.
#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "weights/checkpoint.h"
#include "weights/seeded.h"

namespace {

using retrace::seeded_tensor;
using retrace::weights::Checkpoint;

std::uint64_t fnv1a(const std::vector<float>& values) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const float value : values) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) h = (h ^ ((bits >> shift) & 0xff)) * 0x100000001b3;
  }
  return h;
}

std::vector<std::int64_t> integers(const Checkpoint& file, const std::string& name) {
  const auto* tensor = file.find(name);
  REQUIRE_MESSAGE(tensor != nullptr, name);
  REQUIRE(tensor->dtype == retrace::weights::DType::i64);
  std::vector<std::int64_t> values(static_cast<std::size_t>(tensor->count()));
  std::memcpy(values.data(), tensor->data.get(), tensor->byte_size());
  return values;
}

}  // namespace

TEST_CASE("seeded tensors equal Python's bit for bit") {
  const Checkpoint file = retrace::weights::read_checkpoint(RETRACE_GOLDENS "/seeded_values.safetensors");
  int compared = 0;
  for (const auto& tensor : file.tensors) {
    if (!tensor.name.ends_with(".shape")) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - 6);
    const auto shape = integers(file, tensor.name);
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
      const std::string prefix = name + ".seed" + std::to_string(seed);
      CAPTURE(prefix);
      const std::vector<float> values = seeded_tensor(name, shape, seed);
      const auto* first = file.find(prefix + ".first");
      REQUIRE(first != nullptr);
      const std::vector<float> expected = first->to_f32();
      REQUIRE(expected.size() <= values.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK(std::bit_cast<std::uint32_t>(values[i]) == std::bit_cast<std::uint32_t>(expected[i]));
      }
      CHECK(fnv1a(values) == static_cast<std::uint64_t>(integers(file, prefix + ".checksum").at(0)));
      ++compared;
    }
  }
  CHECK(compared == 39);  // 13 tensors, 3 seeds
}

TEST_CASE("seeded tensors refuse what they have no values for") {
  const std::vector<std::int64_t> none, empty{0}, rank3{2, 3, 4}, rank1{4};
  CHECK_THROWS_AS(seeded_tensor("bn1.num_batches_tracked", none, 1), retrace::Error);
  CHECK_THROWS_AS(seeded_tensor("bn1.weight", empty, 1), retrace::Error);
  CHECK_THROWS_WITH_AS(seeded_tensor("conv1.weight", rank3, 1), doctest::Contains("'conv1.weight'"),
                       retrace::Error);
  CHECK_THROWS_WITH_AS(seeded_tensor("conv1.scale", rank1, 1), doctest::Contains("[4]"), retrace::Error);
}
