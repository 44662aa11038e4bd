#include <doctest/doctest.h>

#include "build_files.h"
#include "weights/match.h"

namespace retrace::weights::test {
namespace {

Checkpoint made_of(const std::vector<TensorSpec>& tensors) {
  Checkpoint checkpoint;
  checkpoint.path = "net.pt";
  float value = 0;
  for (const TensorSpec& spec : tensors) {
    std::size_t n = 1;
    for (const auto size : spec.shape) n *= std::size_t(size);
    checkpoint.tensors.push_back(HostTensor::from_f32(spec.name, spec.shape, std::vector<float>(n, value++)));
  }
  return checkpoint;
}

}  // namespace

TEST_CASE("matching returns the tensors in the model's order") {
  const Checkpoint checkpoint = made_of({{"b", {2}}, {"a", {1, 3}}, {"bn.num_batches_tracked", {}}});
  const auto tensors = match_tensors(checkpoint, std::vector<TensorSpec>{{"a", {1, 3}}, {"b", {2}}});
  REQUIRE(tensors.size() == 2);
  CHECK(tensors[0].name == "a");
  CHECK(tensors[0].to_f32() == std::vector<float>{1, 1, 1});
  CHECK(tensors[1].to_f32() == std::vector<float>{0, 0});
}

TEST_CASE("batch norm's counter may be missing, and is then zero") {
  const auto specs = std::vector<TensorSpec>{{"a", {1}}, {"bn.num_batches_tracked", {}}};
  const auto absent = match_tensors(made_of({{"a", {1}}}), specs);
  REQUIRE(absent.size() == 2);
  CHECK(absent[1].dtype == DType::i64);
  CHECK(absent[1].to_f32() == std::vector<float>{0});
  const auto present = match_tensors(made_of({{"a", {1}}, {"bn.num_batches_tracked", {}}}), specs);
  CHECK(present[1].to_f32() == std::vector<float>{1});
}

TEST_CASE("one message names all that does not fit") {
  const Checkpoint checkpoint = made_of({{"a", {2, 3}}, {"extra", {1}}, {"c", {4}}});
  const std::string message = error_of([&] {
    match_tensors(checkpoint, std::vector<TensorSpec>{{"a", {3, 2}}, {"b", {2}}, {"c", {4}}});
  });
  CHECK(
      message ==
      "net.pt: does not fit the model: 1 missing: 'b'; 1 of another shape: 'a' found [2, 3] expected [3, 2]; "
      "1 unexpected: 'extra'");
}

TEST_CASE("long lists are cut short and counted") {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 30; ++i) specs.push_back({"w" + std::to_string(i), {1}});
  const std::string message = error_of([&] { match_tensors(made_of({}), specs); });
  CHECK(contains(message, "30 missing: 'w0', 'w1'"));
  CHECK(contains(message, "'w7' … (22 more)"));
  CHECK(message.find("'w8'") == std::string::npos);
}

}  // namespace retrace::weights::test
