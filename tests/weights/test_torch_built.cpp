// Right files that today's PyTorch does not write: older and newer ways, made by hand.
#include <doctest/doctest.h>

#include <algorithm>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

const std::string four = bytes_of<float>({1, 2, 3, 4});

std::string ordered_dict() {
  return pk::call(pk::global("collections", "OrderedDict"), {});
}

}  // namespace

TEST_CASE("torch: PyTorch 0.1's parameters and first tensor function") {
  // Parameter(tensor), then BUILD with its state; _rebuild_tensor(storage, offset, shape, strides).
  const std::string tensor = pk::call(
      pk::global("torch._utils", "_rebuild_tensor"),
      {pk::storage("FloatStorage", "0", 4), pk::integer(0), pk::integers({2, 2}), pk::integers({2, 1})});
  const std::string parameter = pk::call(pk::global("torch.nn.parameter", "Parameter"), {tensor}) +
                                pk::tuple({"\x88", "\x89", ordered_dict()}) + "b";
  const Checkpoint c = read_bytes(torch_legacy(pk::dict({{"w", parameter}}), {{"0", 4, four}}));
  CHECK(c.format == "pytorch legacy");
  CHECK(c.container.at("protocol") == "1001");
  CHECK(raw(c, "w", DType::f32, {2, 2}) == four);
}

TEST_CASE("torch: storages that are views of another, in legacy files") {
  const auto view = [](const std::string& key, std::int64_t begin, std::int64_t count) {
    return pk::storage("FloatStorage", "root", 4,
                       pk::tuple({pk::text(key), pk::integer(begin), pk::integer(count)}));
  };
  const std::string object =
      pk::dict({{"a", pk::tensor(view("v1", 1, 2), 0, {2}, {1})},
                {"b", pk::tensor(view("v2", 2, 2), 1, {1}, {1})},
                {"c", pk::tensor(pk::storage("FloatStorage", "root", 4, "N"), 0, {4}, {1})}});
  const Checkpoint c = read_bytes(torch_legacy(object, {{"root", 4, four}}));
  CHECK(raw(c, "a", DType::f32, {2}) == bytes_of<float>({2, 3}));
  CHECK(raw(c, "b", DType::f32, {1}) == bytes_of<float>({4}));
  CHECK(raw(c, "c", DType::f32, {4}) == four);
}

TEST_CASE("torch: Python 2's ways: byte strings, OrderedDict of pairs") {
  const auto bytes = [](const std::string& text) { return "U" + std::string(1, char(text.size())) + text; };
  const std::string storage =
      "(" + bytes("storage") + pk::global("torch", "FloatStorage") + bytes("0") + bytes("cpu") + "K\x04NtQ";
  const std::string pairs = "](](" + bytes("w") + pk::tensor(storage, 1, {2}, {2}) + "ee";
  const std::string object = pk::global("collections", "OrderedDict") + pairs + "\x85R";
  const Checkpoint c = read_bytes(torch_legacy(object, {{"0", 4, four}}));
  CHECK(raw(c, "w", DType::f32, {2}) == bytes_of<float>({2, 4}));
}

TEST_CASE("torch: storages of plain bytes and the third tensor function") {
  const auto tensor = [](const std::string& dtype, std::int64_t offset, std::int64_t n) {
    return pk::call(pk::global("torch._utils", "_rebuild_tensor_v3"),
                    {pk::storage("UntypedStorage", "0", 16), pk::integer(offset), pk::integers({n}),
                     pk::integers({1}), "\x89", ordered_dict(), pk::global("torch", dtype)});
  };
  const Checkpoint c = read_bytes(torch_zip(pk::dict({{"f", tensor("float32", 1, 3)},
                                                      {"u", tensor("uint16", 0, 2)},
                                                      {"all", tensor("uint8", 0, 16)},
                                                      {"e4", tensor("float8_e4m3fn", 3, 1)},
                                                      {"e5", tensor("float8_e5m2", 3, 1)}}),
                                            {{"0", four}}));
  CHECK(raw(c, "f", DType::f32, {3}) == bytes_of<float>({2, 3, 4}));
  CHECK(raw(c, "u", DType::u16, {2}) == four.substr(0, 4));
  CHECK(raw(c, "all", DType::u8, {16}) == four);
  CHECK(raw(c, "e4", DType::f8_e4m3, {1}) == four.substr(3, 1));
  CHECK(raw(c, "e5", DType::f8_e5m2, {1}) == four.substr(3, 1));
  CHECK(contains(error_of_bytes(torch_zip(pk::dict({{"f", tensor("float32", 2, 3)}}), {{"0", four}})),
                 "does not lie in its storage of 4 elements"));
}

TEST_CASE("torch: tensors of a subclass, and parameters with attributes") {
  const std::string arguments = pk::tuple({pk::storage("FloatStorage", "0", 4), pk::integer(0),
                                           pk::integers({4}), pk::integers({1}), "\x89", ordered_dict()});
  const std::string subclass = pk::call(
      pk::global("torch._tensor", "_rebuild_from_type_v2"),
      {pk::global("torch._utils", "_rebuild_tensor_v2"), pk::global("torch", "Tensor"), arguments, "}"});
  const std::string with_state = pk::call(pk::global("torch._utils", "_rebuild_parameter_with_state"),
                                          {subclass, "\x88", ordered_dict(), "}"});
  const Checkpoint c = read_bytes(torch_zip(pk::dict({{"a", subclass}, {"b", with_state}}), {{"0", four}}));
  CHECK(raw(c, "a", DType::f32, {4}) == four);
  CHECK(raw(c, "b", DType::f32, {4}) == four);
}

TEST_CASE("torch: the negative bit changes every sign") {
  // What PyTorch 2 saves of x.conj().imag: the storage as it lies, and that its values have the other sign.
  const auto tensor = [](const std::string& type, const std::string& key, std::int64_t n,
                         const char* negative) {
    return pk::call(pk::global("torch._utils", "_rebuild_tensor_v2"),
                    {pk::storage(type, key, n), pk::integer(0), pk::integers({n}), pk::integers({1}), "\x89",
                     ordered_dict(), pk::dict({{"conj", "\x89"}, {"neg", negative}})});
  };
  const std::vector<float> floats{1, -2.5f, 0, 1e-40f};
  const std::vector<std::int16_t> shorts{0, 1, -256, -32768};
  const std::vector<std::uint8_t> bytes{0, 1, 255};
  const std::string object = pk::dict({{"f", tensor("FloatStorage", "0", 4, "\x88")},
                                       {"as it is", tensor("FloatStorage", "0", 4, "\x89")},
                                       {"s", tensor("ShortStorage", "1", 4, "\x88")},
                                       {"b", tensor("ByteStorage", "2", 3, "\x88")}});
  const std::vector<std::pair<std::string, std::string>> storages{
      {"0", bytes_of(floats)}, {"1", bytes_of(shorts)}, {"2", bytes_of(bytes)}};
  const Checkpoint c = read_bytes(torch_zip(object, storages));
  CHECK(raw(c, "f", DType::f32, {4}) == bytes_of<float>({-1, 2.5f, -0.0f, -1e-40f}));
  CHECK(raw(c, "as it is", DType::f32, {4}) == bytes_of(floats));
  CHECK(raw(c, "s", DType::i16, {4}) == bytes_of<std::int16_t>({0, -1, 256, -32768}));
  CHECK(raw(c, "b", DType::u8, {3}) == bytes_of<std::uint8_t>({0, 255, 1}));
  CHECK(contains(
      error_of_bytes(torch_zip(pk::dict({{"t", tensor("BoolStorage", "0", 1, "\x88")}}), {{"0", "\x01"}})),
      "tensor 't': is a bool with the negative bit"));
}

TEST_CASE("torch: a big-endian zip file") {
  std::string swapped = four;
  for (std::size_t i = 0; i < swapped.size(); i += 4)
    std::reverse(swapped.begin() + i, swapped.begin() + i + 4);
  const std::string object = pk::dict({{"w", pk::floats("0", 4)}});
  const Checkpoint c = read_bytes(torch_zip(object, {{"0", swapped}}, {{"archive/byteorder", "big"}}));
  CHECK(raw(c, "w", DType::f32, {4}) == four);
  const Checkpoint little = read_bytes(torch_zip(object, {{"0", four}}, {{"archive/byteorder", "little"}}));
  CHECK(raw(little, "w", DType::f32, {4}) == four);
  CHECK(contains(error_of_bytes(torch_zip(object, {{"0", four}}, {{"archive/byteorder", "pdp"}})),
                 "its byteorder is 'pdp'"));
}

TEST_CASE("torch: zip64 sizes, a comment and another folder's name") {
  const std::string object = pk::pickle(pk::dict({{"w", pk::floats("0", 4)}}));
  const std::string bytes =
      zip({{"net/data.pkl", object, 0, 0, true}, {"net/data/0", four, 0, 0, true}, {"net/version", "3\n"}},
          "hello");
  CHECK(raw(read_bytes(bytes), "w", DType::f32, {4}) == four);
}

TEST_CASE("torch: a tensor alone, a list of tensors, one tensor under two names") {
  CHECK(raw(read_bytes(torch_zip(pk::floats("0", 4), {{"0", four}})), "tensor", DType::f32, {4}) == four);
  const std::string list = "](" + pk::floats("0", 4) + pk::floats("0", 4) + "e";
  CHECK(raw(read_bytes(torch_zip(list, {{"0", four}})), "1", DType::f32, {4}) == four);
  // The memo's own copy: BINPUT, BINGET.
  const std::string tied = pk::dict({{"a", pk::floats("0", 4) + "q\x05"}, {"b", "h\x05"}});
  const Checkpoint c = read_bytes(torch_zip(tied, {{"0", four}}));
  CHECK(raw(c, "a", DType::f32, {4}) == raw(c, "b", DType::f32, {4}));
}

TEST_CASE("torch: which entry holds the weights") {
  const std::string w = pk::dict({{"w", pk::floats("0", 4)}});
  const auto only = [&](const std::string& object) {
    const Checkpoint c = read_bytes(torch_zip(object, {{"0", four}}));
    REQUIRE(c.tensors.size() == 1);
    return c.tensors[0].name;
  };
  for (const char* key : {"state_dict", "model_state_dict", "model_state", "model", "net", "network",
                          "params", "weights", "module"}) {
    CHECK(only(pk::dict({{"epoch", "K\x01"}, {key, w}})) == "w");
  }
  CHECK(only(pk::dict({{"encoder", w}})) == "encoder.w");             // no wrapper: part of the names
  CHECK(only(pk::dict({{"model", pk::floats("0", 4)}})) == "model");  // a tensor is no wrapper
  CHECK(only(pk::dict({{"model", "}"}, {"net", w}})) == "w");         // nor is a dict without tensors
  CHECK(only(pk::dict({{"model", w}, {"state_dict", w}})) == "w");    // state_dict comes first
  CHECK(only(pk::dict({{"features", w}, {"optimizer", w}})) == "features.w");
  CHECK(only(pk::dict({{"module._orig_mod.w", pk::floats("0", 4)}})) == "w");
  // A prefix that only some names have is part of the names.
  const Checkpoint mixed = read_bytes(
      torch_zip(pk::dict({{"module.a", pk::floats("0", 4)}, {"b", pk::floats("0", 4)}}), {{"0", four}}));
  CHECK(mixed.find("module.a") != nullptr);
  // NumPy numbers beside the weights are not looked into.
  const std::string scalar = pk::call(
      pk::global("numpy.core.multiarray", "scalar"),
      {pk::call(pk::global("numpy", "dtype"), {pk::text("f8"), pk::integer(0), pk::integer(1)}) + "(K\x03tb",
       pk::call(pk::global("_codecs", "encode"), {pk::text("x"), pk::text("latin1")})});
  CHECK(only(pk::dict({{"state_dict", w}, {"best", scalar}})) == "w");
}

TEST_CASE("torch: bytes after a legacy file's last storage are mentioned") {
  const std::string bytes = torch_legacy(pk::dict({{"w", pk::floats("0", 4)}}), {{"0", 4, four}});
  CHECK(read_bytes(bytes).notes.empty());
  const Checkpoint c = read_bytes(bytes + "xyz");
  REQUIRE(c.notes.size() == 1);
  CHECK(contains(c.notes[0], "3 bytes after the last storage"));
}

}  // namespace retrace::weights::test
