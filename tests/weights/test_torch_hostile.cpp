// Pickles that lie, attack or make no sense.
#include <doctest/doctest.h>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

using namespace std::string_literals;

const std::string four = bytes_of<float>({1, 2, 3, 4});

// The error for an object in a zip file beside storage "0" of four floats.
std::string error_of_object(const std::string& object) {
  return error_of_bytes(torch_zip(object, {{"0", four}}));
}
std::string error_of_tensor(const std::string& tensor) {
  return error_of_object(pk::dict({{"w", tensor}}));
}
std::string repeat(const std::string& text, std::size_t n) {
  std::string out;
  out.reserve(text.size() * n);
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("torch: code is refused by name, and not run") {
  const TemporaryFolder folder;
  const std::string command = "touch '" + (folder / "executed").string() + "'";
  for (const auto& [module, name] : {std::pair{"os", "system"},
                                     {"posix", "system"},
                                     {"builtins", "eval"},
                                     {"__builtin__", "getattr"},
                                     {"subprocess", "Popen"},
                                     {"torch.storage", "_load_from_bytes"},
                                     {"torch._utils", "_rebuild_qtensor"},
                                     {"torch", "ComplexFloatStorage"},
                                     {"torch", "load"}}) {
    const std::string full = "'"s + module + "." + name + "'";
    CHECK(contains(error_of_object(pk::call(pk::global(module, name), {pk::text(command)})), full));
    const std::string stack_global = pk::text(module) + pk::text(name) + "\x93";
    CHECK(contains(error_of_object(pk::call(stack_global, {pk::text(command)})), full));
    CHECK(contains(error_of_bytes(torch_legacy(pk::global(module, name), {})), full));
  }
  CHECK(folder.entries() == 0);
  CHECK(contains(error_of_object(pk::global("__torch__.net", "Net")), "TorchScript program"));
  CHECK(contains(error_of_object(pk::global("torchvision.models.resnet", "ResNet")),
                 "save the state_dict() alone"));
  CHECK(contains(error_of_object(pk::global("o\ts"s, "sys\x01tem")), "'o\\x09s.sys\\x01tem'"));
}

TEST_CASE("torch: known names are called only as they can be") {
  CHECK(
      contains(error_of_object(pk::call(pk::text("x"), {})), "something that is not a known name is called"));
  CHECK(contains(error_of_object(pk::global("collections", "OrderedDict") + "NR"), "arguments of a call"));
  CHECK(contains(error_of_object(pk::call(pk::global("torch", "FloatStorage"), {})),
                 "'FloatStorage' is called"));
  CHECK(contains(error_of_object(pk::call(pk::global("torch", "float32"), {})), "is called"));
  CHECK(
      contains(error_of_object(pk::call(pk::global("torch", "Size"), {"N"})), "torch.Size without a tuple"));
  CHECK(contains(error_of_object(pk::call(pk::global("builtins", "set"), {"N"})), "not made of a list"));
  CHECK(contains(error_of_object(pk::call(pk::global("collections", "OrderedDict"), {"]Na"})),
                 "list of pairs"));
  CHECK(contains(error_of_object(pk::call(pk::global("torch._utils", "_rebuild_parameter"), {"N", "N", "N"})),
                 "a parameter without a tensor"));
  CHECK(contains(error_of_object(pk::call(pk::global("torch._tensor", "_rebuild_from_type_v2"),
                                          {pk::global("builtins", "set"), "N", "(t", "N"})),
                 "made by something else"));
  CHECK(contains(error_of_object("NNb"), "attributes are set on something that has none"));
  CHECK(contains(error_of_object(pk::global("collections", "OrderedDict") + "(" + repeat("N", 17) + "tR"),
                 "more arguments"));
}

TEST_CASE("torch: a broken pickle machine") {
  CHECK(contains(error_of_object(""), "the stack is empty"));
  CHECK(contains(error_of_object("N0"), "the stack is empty"));
  CHECK(contains(error_of_object("}(0."), "holds no tensors, only an empty dict"));  // POP takes the mark
  CHECK(contains(error_of_object("]N(a"), "the stack is empty"));                    // nothing above the mark
  CHECK(contains(error_of_object("t"), "there is no mark"));
  CHECK(contains(error_of_object("h\x01"), "memo 1 was never stored"));
  CHECK(contains(error_of_object("j\x01\x02\x03\x04"), "memo 67305985 was never stored"));
  CHECK(contains(error_of_object("q\x01"), "the stack is empty"));
  CHECK(contains(error_of_object("NNa"), "items are put into a None"));
  CHECK(contains(error_of_object("]NNs"), "items are put into a list"));
  CHECK(contains(error_of_object("}(Nu"), "a key has no value"));
  CHECK(contains(error_of_object("NN\x93"), "a global's name is not text"));
  CHECK(contains(error_of_object("\x80\x06"), "protocol 6"));
  CHECK(contains(error_of_object("I1"), "a line has no end"));
  CHECK(contains(error_of_object("X\xff\xff\xff\xff"), "needs 4294967295 bytes"));
  CHECK(
      contains(error_of_object("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "needs 18446744073709551615 bytes"));
  CHECK(contains(error_of_object("\x8b\xff\xff\xff\x7f"), "needs 2147483647 bytes"));
  CHECK(contains(error_of_object("cos"), "a line has no end"));
  CHECK(contains(error_of_object("c" + repeat("x", 5000) + "\n"), "a line has no end"));
  CHECK(contains(error_of_bytes(zip({{"archive/data.pkl", "\x80\x02}"}})), "needs 1 bytes, but 0 are left"));
  CHECK(contains(error_of_bytes(zip({{"archive/data.pkl", ""}})), "needs 1 bytes"));
}

TEST_CASE("torch: depth, size and repetition are bounded") {
  // Nearly as many lists in one another as there may be objects: no recursion may follow them.
  CHECK(
      contains(error_of_object(repeat("]", 499000) + repeat("a", 498999)), "holds no tensors, only a list"));
  // A byte each: a hundred times that in memory.
  CHECK(contains(error_of_object(repeat("]", 500001)), "more than 500000 objects"));
  CHECK(contains(error_of_object(repeat("]", 1000) + pk::floats("0", 4) + repeat("a", 1000)),
                 "nested more than 32 deep"));
  // Deep, but nothing to do with the weights.
  CHECK_NOTHROW(read_bytes(torch_zip(
      pk::dict({{"w", pk::floats("0", 4)}, {"log", repeat("]", 1000) + repeat("a", 999)}}), {{"0", four}})));
  // A list that holds itself.
  CHECK(contains(error_of_object("]q\x01h\x01"s + "a"), "holds no tensors"));
  CHECK(
      contains(error_of_object("]q\x01h\x01"s + "a" + pk::floats("0", 4) + "a"), "nested more than 32 deep"));
  // Ten levels of ten references each: 10^10 ways to one tensor.
  std::string laughs = pk::floats("0", 4);
  for (char level = 1; level <= 10; ++level) {
    laughs = "](" + laughs + "q" + level + repeat("h"s + level, 9) + "e";
  }
  CHECK(contains(error_of_object(laughs), "more than 1000000 entries"));
  CHECK(contains(error_of_object("]" + repeat("Na", 1200001)), "more than 600001 objects"));
  // One list of 100 000, copied into a thousand sets.
  CHECK(contains(error_of_object("](" + repeat("N", 100000) + "e\x85q\x01" + pk::global("builtins", "set") +
                                 "q\x02" + repeat("h\x02h\x01R", 1000)),
                 "containers are copied too often"));
  CHECK(contains(error_of_object(repeat("(", 16000001)), "too many marks"));
  CHECK(contains(error_of_object("N" + repeat("2", 16000001)), "the stack grows too large"));
}

TEST_CASE("torch: a tensor must lie in its storage") {
  const std::string storage = pk::storage("FloatStorage", "0", 4);
  constexpr std::int64_t huge = std::int64_t(1) << 62;
  const auto error = [&](std::int64_t offset, const std::vector<std::int64_t>& shape,
                         const std::vector<std::int64_t>& strides) {
    const std::string message = error_of_tensor(pk::tensor(storage, offset, shape, strides));
    CHECK(contains(message, ": tensor 'w': "));
    return message;
  };
  CHECK(contains(error(0, {5}, {1}), "does not lie in its storage of 4 elements"));
  CHECK(contains(error(1, {4}, {1}), "does not lie"));
  CHECK(contains(error(4, {1}, {1}), "does not lie"));
  CHECK(contains(error(4, {}, {}), "does not lie"));
  CHECK(contains(error(0, {2, 2}, {3, 1}), "does not lie"));
  CHECK(contains(error(0, {2}, {huge}), "does not lie"));
  CHECK(contains(error(0, {5}, {huge}), "does not lie"));  // 4 · 2^62 wraps to 0
  CHECK(contains(error(0, {3, 3}, {huge, huge}), "does not lie"));
  CHECK(contains(error(std::int64_t(~std::uint64_t(0) >> 1), {2}, {1}), "does not lie"));
  CHECK(contains(error(-1, {1}, {1}), "begins at element -1"));
  CHECK(contains(error(0, {2}, {-1}), "strides [-1] are negative"));
  CHECK(contains(error(3, {2}, {-1}), "strides [-1] are negative"));  // even where it would stay inside
  CHECK(contains(error(0, {-2}, {1}), "shape [-2] is not possible"));
  CHECK(contains(error(0, {huge, 4}, {1, 1}), "is not possible"));
  CHECK(contains(error(0, {huge}, {0}), "is not possible"));  // 2^64 bytes
  CHECK(contains(error(0, {2, 2}, {1}), "has 2 sizes but 1 strides"));
  CHECK(contains(error_of_tensor(pk::tensor(storage, 0, std::vector<std::int64_t>(65, 1),
                                            std::vector<std::int64_t>(65, 1))),
                 "a tensor's shape has 65 numbers"));
  CHECK(contains(error_of_tensor(pk::tensor("N", 0, {1}, {1})), "first argument is not a storage"));
  CHECK(contains(error_of_tensor(pk::call(pk::global("torch._utils", "_rebuild_tensor_v2"), {storage})),
                 "too few or too many arguments"));
  CHECK(contains(error_of_tensor(pk::call(pk::global("torch._utils", "_rebuild_tensor"),
                                          {storage, pk::text("1"), pk::integers({1}), pk::integers({1})})),
                 "a tensor's offset is a str"));
}

TEST_CASE("torch: a small file cannot unfold to a large one") {
  const std::string storage = pk::storage("FloatStorage", "0", 4);
  // 48 MiB are always allowed, more only for larger files.
  constexpr std::int64_t allowed = (48 << 20) / 4;
  const auto expanded = [&](std::int64_t n) { return pk::tensor(storage, 0, {n}, {0}); };
  CHECK_NOTHROW(read_bytes(torch_zip(pk::dict({{"w", expanded(allowed)}}), {{"0", four}})));
  CHECK(contains(error_of_tensor(expanded(allowed + 1)), "over the limit of 50331648 bytes"));
  CHECK(contains(error_of_tensor(expanded(std::int64_t(1) << 40)), "over the limit"));
  CHECK(contains(error_of_object(pk::dict({{"a", expanded(allowed)}, {"b", expanded(1)}})), "tensor 'b'"));
}

TEST_CASE("torch: storages must be what the pickle says") {
  const auto with = [](const std::string& storage) {
    return pk::dict({{"w", pk::tensor(storage, 0, {1}, {1})}});
  };
  const auto zip_error = [&](const std::string& storage) { return error_of_object(with(storage)); };
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", 5)),
                 "holds 16 bytes, its tensors expect 5 elements"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", 3)), "holds 16 bytes"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", -4)), "views elements 0 + -4"));
  CHECK(contains(zip_error(pk::storage("DoubleStorage", "0", 4)), "4 elements of 8 bytes"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "1", 4)), "'archive/data/1': is not in the archive"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", std::int64_t(1) << 62)), "holds 16 bytes"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", 4, pk::integers({1, 2}))),
                 "does not have 3 parts"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", 4, pk::integers({1, 2, 3}))),
                 "views elements 2 + 3"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", 4, pk::integers({1, -1, 3}))),
                 "views elements -1 + 3"));
  CHECK(contains(zip_error(pk::storage("FloatStorage", "0", 4, pk::integers({1, 1, -1}))),
                 "views elements 1 + -1"));
  CHECK(contains(zip_error("NQ"), "not a tuple that begins with its type"));
  CHECK(contains(zip_error("(" + pk::text("module") + "NNNtQ"), "type 'module'"));
  CHECK(contains(zip_error("(" + pk::text("storage") + "NNNtQ"), "5 or 6 parts"));
  CHECK(contains(zip_error("(" + pk::text("storage") + "NNNNtQ"), "not one of torch's storages"));
  CHECK(contains(zip_error("(" + pk::text("storage") + pk::global("torch", "FloatStorage") + "NNNtQ"),
                 "a storage's key is not text"));

  const auto legacy_error = [&](const std::string& storage, const std::vector<LegacyStorage>& storages) {
    return error_of_bytes(torch_legacy(with(storage), storages));
  };
  const std::string good = pk::storage("FloatStorage", "0", 4);
  CHECK_NOTHROW(read_bytes(torch_legacy(with(good), {{"0", 4, four}})));
  CHECK(contains(legacy_error(good, {{"0", 3, four}}), "has 3 elements, its tensors expect 4"));
  CHECK(contains(legacy_error(good, {{"0", 4, four.substr(1)}}),
                 "needs 4 elements of 4 bytes, but 15 bytes are left"));
  CHECK(contains(legacy_error(good, {}), "storage '0' is not in the file"));
  CHECK(contains(legacy_error(good, {{"0", 4, four}, {"0", 4, four}}), "listed twice"));
  CHECK(contains(legacy_error(good, {{"1", 4, four}}), "belongs to no tensor"));
  CHECK(contains(legacy_error(pk::storage("FloatStorage", "0", -1), {{"0", -1, four}}), "has -1 elements"));
  constexpr std::int64_t huge = std::int64_t(1) << 62;  // times 4 is 2^64
  CHECK(contains(legacy_error(pk::storage("FloatStorage", "0", huge), {{"0", huge, ""}}),
                 "but 0 bytes are left"));
  const std::string twice = pk::dict({{"a", pk::tensor(good, 0, {1}, {1})},
                                      {"b", pk::tensor(pk::storage("DoubleStorage", "0", 4), 0, {1}, {1})}});
  CHECK(contains(error_of_bytes(torch_legacy(twice, {{"0", 4, four}})), "referred to with different sizes"));
}

TEST_CASE("torch: names must be unique, and there must be tensors") {
  const std::string w = pk::floats("0", 4);
  // Python takes the last of several equal keys; other readers may not.
  CHECK(
      contains(error_of_object(pk::dict({{"w", w}, {"w", w}})), "data.pkl: key 'w' stands twice in a dict"));
  CHECK(contains(error_of_object(pk::dict({{"state_dict", pk::dict({{"w", w}})},
                                           {"epoch", pk::integer(1)},
                                           {"state_dict", pk::dict({{"v", w}})}})),
                 "key 'state_dict' stands twice"));
  CHECK(
      contains(error_of_object("}" + pk::integer(1) + w + "s\x88" + w + "s"), "key 1 stands twice"));  // True
  CHECK(contains(error_of_object(pk::dict({{"a.b", w}, {"a", pk::dict({{"b", w}})}})),
                 "two tensors are named 'a.b'"));
  CHECK(contains(error_of_object(pk::dict({{"epoch", pk::integer(1)}})),
                 "holds no tensors, only a dict of 'epoch'"));
  CHECK(contains(error_of_object(pk::text("x")), "holds no tensors, only a str"));
}

TEST_CASE("torch: the legacy stream's own header") {
  const std::string magic = pk::pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
  CHECK(contains(error_of_bytes(magic + pk::pickle(pk::integer(1002))),
                 "protocol number is 1002, expected 1001"));
  CHECK(contains(error_of_bytes(magic + pk::pickle("}")), "protocol number is a dict"));
  const std::string start = magic + pk::pickle(pk::integer(1001)) + pk::pickle("}") + pk::pickle("}");
  CHECK(contains(error_of_bytes(start + pk::pickle("}")), "the list of storages is a dict"));
  CHECK(contains(error_of_bytes(start + pk::pickle("]Na")), "a storage's key is a None"));
}

}  // namespace retrace::weights::test
