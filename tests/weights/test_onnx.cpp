// ONNX files that PyTorch and onnx wrote (make_onnx_fixtures.py); values bit by bit.
#include <doctest/doctest.h>

#include <limits>

#include "build_onnx.h"
#include "weights/onnx_graph.h"
#include "weights/seeded.h"

namespace retrace::weights::test {
namespace {

using Shape = std::vector<std::int64_t>;

// The values that make_onnx_fixtures.py gave this parameter.
void check_seeded(const Checkpoint& c, const std::string& name, const Shape& shape) {
  INFO(c.path << ": " << name);
  CHECK(raw(c, name, DType::f32, shape) == bytes_of(seeded_tensor(name, shape, 1)));
}

template <class T>
std::string six() {
  return bytes_of(std::vector<T>{std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), 0, 1, 2, 3});
}

}  // namespace

TEST_CASE("onnx: every element type, in raw_data and in its own field") {
  const Checkpoint c = read_checkpoint(fixture("types.onnx"));
  CHECK(c.format == "onnx");
  CHECK(c.container ==
        std::map<std::string, std::string>{{"ir_version", "9"}, {"opset", "19"}, {"producer", "by hand 1"}});
  const float inf = std::numeric_limits<float>::infinity();
  const auto check = [&](const std::string& name, DType type, const std::string& bytes) {
    CHECK(raw(c, name + ".raw", type, {2, 3}) == bytes);
    CHECK(raw(c, name + ".typed", type, {2, 3}) == bytes);
  };
  check("f32", DType::f32, bytes_of<float>({0, -0.f, 1.5f, -2, 0.25f, inf}));
  check("f64", DType::f64, bytes_of<double>({0, -0., 1.5, -2, 0.25, double(inf)}));
  check("f16", DType::f16, bytes_of<std::uint16_t>({0, 0x8000, 0x3e00, 0xc000, 0x3400, 0x7c00}));
  check("i64", DType::i64, six<std::int64_t>());
  check("i32", DType::i32, six<std::int32_t>());
  check("i16", DType::i16, six<std::int16_t>());
  check("i8", DType::i8, six<std::int8_t>());
  check("u64", DType::u64, six<std::uint64_t>());
  check("u32", DType::u32, six<std::uint32_t>());
  check("u16", DType::u16, six<std::uint16_t>());
  check("u8", DType::u8, six<std::uint8_t>());
  check("bool", DType::boolean, bytes_of<std::uint8_t>({1, 0, 1, 1, 0, 0}));
  const std::vector<float> small{0, -0.f, 1.5f, -2, 0.25f, 0.5f};
  for (const char* name : {"bf16", "f8_e4m3", "f8_e5m2"}) {
    CHECK(bytes_of(c.find(std::string(name) + ".typed")->to_f32()) == bytes_of(small));
  }
  CHECK(raw(c, "scalar", DType::f32, {}) == bytes_of<float>({2.5f}));
  CHECK(raw(c, "empty", DType::f32, {0, 3}).empty());
}

TEST_CASE("onnx: Constants, and Identities of tensors, are tensors") {
  const Checkpoint c = read_checkpoint(fixture("types.onnx"));
  CHECK(raw(c, "constant", DType::i64, {2}) == bytes_of<std::int64_t>({7, -8}));
  CHECK(raw(c, "real", DType::f32, {}) == bytes_of<float>({0.5f}));
  CHECK(raw(c, "reals", DType::f32, {2}) == bytes_of<float>({0.5f, 1.5f}));
  CHECK(raw(c, "integer", DType::i64, {}) == bytes_of<std::int64_t>({-3}));
  CHECK(raw(c, "integers", DType::i64, {3}) == bytes_of<std::int64_t>({1, -2, 3}));
  CHECK(c.find("words") == nullptr);
  CHECK(c.find("alias of the alias")->data == c.find("f32.raw")->data);  // not copied
  REQUIRE(c.graph != nullptr);
  CHECK(c.graph->opset == 19);
  REQUIRE(c.graph->inputs.size() == 1);
  CHECK(c.graph->inputs[0].name == "x");
  CHECK(c.graph->inputs[0].shape == Shape{-1, 2});
  REQUIRE(c.graph->nodes.size() == 9);
  const OnnxNode& sum = c.graph->nodes[8];
  CHECK(sum.text(8) == "node 8 ('Add' 'sum')");
  CHECK(sum.inputs == std::vector<std::string>{"x", "reals"});
  CHECK(c.graph->maker.at("y") == 8);
  CHECK(c.graph->constants.contains("alias"));
}

TEST_CASE("onnx: an exported network whose batch norm is kept") {
  for (const char* name : {"small.training.onnx", "small.external.onnx"}) {
    const Checkpoint c = read_checkpoint(fixture(name));
    CHECK(c.container.at("producer") == "pytorch 1.13.0");
    CHECK(c.container.at("ir_version") == "8");
    check_seeded(c, "conv1.weight", {4, 3, 3, 3});
    check_seeded(c, "conv2.weight", {4, 2, 3, 3});
    check_seeded(c, "conv2.bias", {4});
    check_seeded(c, "fc.weight", {5, 4});
    check_seeded(c, "fc.bias", {5});
    for (const std::string norm : {"bn1.", "bn2."}) {
      // Means and variances are alike: the exporter keeps one of each, and Identities.
      for (const char* part : {"weight", "bias", "running_mean", "running_var"})
        check_seeded(c, norm + part, {4});
    }
    CHECK(c.tensors.size() == 13);
  }
}

TEST_CASE("onnx: an exported network with batch norm folded, and its graph") {
  for (const char* name : {"small.11.onnx", "small.17.onnx", "small.nofold.onnx", "small.old.onnx"}) {
    const Checkpoint c = read_checkpoint(fixture(name));
    INFO(name);
    check_seeded(c, "fc.weight", {5, 4});
    check_seeded(c, "fc.bias", {5});
    CHECK(c.tensors.size() == 6);
    REQUIRE(c.graph != nullptr);
    REQUIRE(c.graph->nodes.size() == 8);
    const OnnxNode& conv = c.graph->nodes[2];
    CHECK(conv.op == "Conv");
    CHECK(conv.find("group")->integer == 2);
    CHECK(conv.find("pads")->integers == Shape{1, 1, 1, 1});
    CHECK(conv.find("auto_pad") == nullptr);
    CHECK(c.find(conv.inputs.at(1))->shape == Shape{4, 2, 3, 3});
    CHECK(c.graph->inputs.size() == 1);  // not the initialisers, which older files list too
    CHECK(c.graph->inputs[0].shape == Shape{1, 3, 8, 8});
    CHECK(c.graph->outputs[0].name == "logits");
  }
}

TEST_CASE("onnx: numbers one by one, fields in any order, fields that are not known") {
  const std::string one_by_one =
      pb::tensor("w", {}, 1, pb::fixed32(4, 1) + pb::fixed32(4, 2) + pb::packed(1, {2}));
  const std::string unknown = pb::number(99, 5) + pb::bytes(98, "future") + "\xb9\x06" +
                              std::string(8, 'x') +  // 103, 64 bits
                              pb::fixed32(97, 1);
  const Checkpoint c =
      read_bytes(pb::number(1, 3) + pb::bytes(7, unknown + pb::in_graph(unknown + one_by_one)) +
                 pb::bytes(26, unknown) + pb::bytes(8, pb::number(2, 1)));
  CHECK(raw(c, "w", DType::f32, {2}) == bytes_of<float>({1, 2}));
  const Checkpoint d = read_bytes(pb::model(pb::in_graph(pb::tensor(
      "w", {3}, 7, pb::number(7, -1) + pb::packed(7, {std::numeric_limits<std::int64_t>::min(), 5})))));
  CHECK(raw(d, "w", DType::i64, {3}) ==
        bytes_of<std::int64_t>({-1, std::numeric_limits<std::int64_t>::min(), 5}));
}

TEST_CASE("onnx: what the file says of itself") {
  const Checkpoint c =
      read_bytes(pb::number(1, 8) + pb::bytes(2, "tool") + pb::bytes(3, "2.0") +
                 pb::bytes(7, pb::in_graph(pb::floats("w", {1}))) + pb::bytes(8, pb::number(2, 17)) +
                 pb::bytes(8, pb::bytes(1, "com.example") + pb::number(2, 2)) +
                 pb::bytes(14, pb::bytes(1, "epoch") + pb::bytes(2, "3")) + pb::bytes(25, ""));
  CHECK(c.container == std::map<std::string, std::string>{
                           {"ir_version", "8"}, {"opset", "17, com.example 2"}, {"producer", "tool 2.0"}});
  CHECK(c.metadata == std::map<std::string, std::string>{{"epoch", "3"}});
  CHECK(c.notes == std::vector<std::string>{"1 functions not read"});
  CHECK(c.graph->opset == 17);
}

TEST_CASE("onnx: external data in folders beneath, through links that stay there") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  write_file(folder / "sub/data", bytes_of<float>({1, 2, 3, 4}));
  std::filesystem::create_symlink("sub", folder / "link");
  std::filesystem::create_symlink(folder.path(), folder / "sub/self");
  write_file(folder / "m.onnx", pb::model(pb::in_graph(pb::external("a", 2, "sub/data", "8", "8")) +
                                          pb::in_graph(pb::external("b", 4, "link/data")) +
                                          pb::in_graph(pb::external("c", 1, "./sub/data", "4")) +
                                          pb::in_graph(pb::external("none", 0, "sub/data", "16", "0"))));
  std::filesystem::create_directory(folder / "other");
  for (const auto& path : {folder / "m.onnx", folder / "sub/self/m.onnx"}) {
    const Checkpoint c = read_checkpoint(path);
    CHECK(raw(c, "a", DType::f32, {2}) == bytes_of<float>({3, 4}));
    CHECK(raw(c, "b", DType::f32, {4}) == bytes_of<float>({1, 2, 3, 4}));
    CHECK(raw(c, "c", DType::f32, {1}) == bytes_of<float>({2}));
    CHECK(raw(c, "none", DType::f32, {0}).empty());
  }
}

}  // namespace retrace::weights::test
