// TorchScript programs: what torch.jit.save wrote, and what attackers might.
#include <doctest/doctest.h>

#include <algorithm>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

using Shape = std::vector<std::int64_t>;

struct Expected {
  std::string name;
  DType dtype;
  Shape shape;
  std::string filled_as;  // the last of its names, whose formula its values are
};

// The state_dict() of make_fixtures.py's Program.
std::vector<Expected> program(DType type, bool shared) {
  std::vector<Expected> all{{"turned", type, {3, 2}, "turned"},
                            {"scale", type, {2, 2}, "scale"},
                            {"steps", DType::i64, {3}, "steps"},
                            {"fc.weight", type, {3, 3}, "fc.weight"},
                            {"fc.bias", type, {3}, "fc.bias"}};
  if (shared) all.push_back({"tied", type, {3, 3}, "fc.weight"});
  const std::pair<std::string, Shape> part[] = {
      {"conv.weight", {3, 2, 3, 3}}, {"bn.weight", {3}},      {"bn.bias", {3}},
      {"bn.running_mean", {3}},      {"bn.running_var", {3}}, {"bn.num_batches_tracked", {}}};
  for (const auto& [name, shape] : part) {
    const DType t = shape.empty() ? DType::i64 : type;
    all.push_back({"layer.0." + name, t, shape, (shared ? "again." : "layer.0.") + name});
    if (shared) all.push_back({"again." + name, t, shape, "again." + name});
  }
  return all;
}

std::vector<float> values_of(const std::string& name, std::size_t count, DType type) {
  unsigned sum = 0;
  for (const char c : name) sum += unsigned(c);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const float value = float(i) * 0.25f + float(sum % 64);
    values[i] = type == DType::i64 ? float(int(value)) : value;
  }
  return values;
}

void check(const std::string& file, DType type, bool shared) {
  const Checkpoint c = read_checkpoint(fixture(file));
  CHECK(c.format == "torchscript");
  CHECK(c.container.at("class") == "Program");
  CHECK(c.container.contains("version"));
  const auto expected = program(type, shared);
  CHECK(c.tensors.size() == expected.size());
  for (const Expected& e : expected) {
    INFO(file << ": " << e.name);
    const HostTensor* const tensor = c.find(e.name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->dtype == e.dtype);
    CHECK(tensor->shape == e.shape);
    CHECK(tensor->to_f32() == values_of(e.filled_as, std::size_t(tensor->count()), e.dtype));
  }
}

bool any_note(const Checkpoint& c, std::string_view part) {
  return std::any_of(c.notes.begin(), c.notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

const std::string four = bytes_of<float>({1, 2, 3, 4});

std::string module(const std::string& name,
                   std::initializer_list<std::pair<std::string, std::string>> attributes) {
  return pk::global("__torch__.nets", name) + ")\x81" + pk::dict(attributes) + "b";
}
// An archive of this object beside storage "0" of four floats.
std::string script(const std::string& object, const std::vector<ZipEntry>& more = {}) {
  std::vector<ZipEntry> entries{{"archive/code/__torch__.py", "class Net: ..."},
                                {"archive/constants.pkl", pk::pickle(")")}};
  entries.insert(entries.end(), more.begin(), more.end());
  return torch_zip(object, {{"0", four}}, entries);
}

}  // namespace

TEST_CASE("torchscript: a scripted module's parameters and buffers, by their paths") {
  check("scripted.jit.pt", DType::f32, true);
  check("half.jit.pt", DType::f16, true);
  const Checkpoint c = read_checkpoint(fixture("scripted.jit.pt"));
  CHECK(c.find("tied")->data == c.find("fc.weight")->data);  // one storage
  CHECK(any_note(c, "'tensors' (list), 'table' (dict)"));
}

TEST_CASE("torchscript: a traced module, and the constant of its code") {
  check("traced.jit.pt", DType::f32, false);
}

TEST_CASE("torchscript: a frozen module has no names, and is told by that") {
  const std::string message = error_of([] { read_checkpoint(fixture("frozen.jit.pt")); });
  CHECK(contains(message, "frozen.jit.pt: is a frozen TorchScript program (torch.jit.freeze)"));
  CHECK(contains(message, "constants of its code and have no names"));
}

TEST_CASE("torchscript: modules built by hand") {
  const Checkpoint c = read_bytes(script(
      module("Net", {{"w", pk::floats("0", 4)},
                     {"inner",
                      module("Inner", {{"w", pk::tensor(pk::storage("FloatStorage", "0", 4), 1, {2}, {2})}})},
                     {"training", "\x89"},
                     {"none", "N"},
                     {"sizes", pk::call(pk::global("torch.jit._pickle", "build_intlist"), {"]K\x01"
                                                                                           "a"})},
                     {"tagged", pk::call(pk::global("torch.jit._pickle", "restore_type_tag"),
                                         {pk::floats("0", 4), pk::text("Optional[Tensor]")})},
                     {"packed", pk::global("__torch__.torch.classes.quantized", "Conv2dPackedParamsBase") +
                                    ")\x81" + pk::tuple({pk::text("2"), pk::floats("0", 4)}) + "b"}}),
      {{"archive/constants/0", four}}));
  REQUIRE(c.tensors.size() == 3);
  CHECK(raw(c, "w", DType::f32, {4}) == four);
  CHECK(raw(c, "tagged", DType::f32, {4}) == four);
  CHECK(raw(c, "inner.w", DType::f32, {2}) == bytes_of<float>({2, 4}));
  CHECK(any_note(c, "1 constant of the program left out"));
}

TEST_CASE("torchscript: its names are known in its own archives alone") {
  const std::string net = module("Net", {{"w", pk::floats("0", 4)}});
  CHECK_NOTHROW(read_bytes(script(net)));
  const auto refused = [&](const std::string& bytes) {
    CHECK(
        contains(error_of_bytes(bytes), "refers to '__torch__.nets.Net', a class of a TorchScript program"));
  };
  refused(torch_zip(net, {{"0", four}}));
  refused(torch_zip(net, {{"0", four}}, {{"archive/constants.pkl", ")"}}));
  refused(torch_zip(net, {{"0", four}}, {{"archive/code/x.py", ""}}));
  refused(torch_legacy(net, {{"0", 4, four}}));
  CHECK(contains(error_of_bytes(torch_zip(pk::global("torch.jit._pickle", "build_intlist"), {{"0", four}})),
                 "'torch.jit._pickle.build_intlist', which is not among the names"));
  // And no others become known there.
  for (const auto& [module, name] : {std::pair{"os", "system"},
                                     {"__torch__x", "Net"},
                                     {"torch.jit._pickle", "build_tensor_from_id"},
                                     {"torch.jit", "load"}}) {
    CHECK(contains(error_of_bytes(script(pk::call(pk::global(module, name), {pk::text("true")}))),
                   std::string("'") + module + "." + name + "'"));
  }
}

TEST_CASE("torchscript: objects that make no sense") {
  const auto error = [](const std::string& object) { return error_of_bytes(script(object)); };
  CHECK(contains(error(pk::dict({{"w", pk::floats("0", 4)}})), "is a TorchScript program of a dict"));
  CHECK(contains(error(pk::text("x")), "of a str, expected a module"));
  CHECK(contains(error(module("Net", {})), "is a TorchScript program without parameters"));
  CHECK(
      contains(error(pk::global("__torch__", "Net") + ")\x81}" + pk::integer(1) + pk::floats("0", 4) + "sb"),
               "has a int for its name"));
  CHECK(contains(error(module("Net", {{"w", pk::floats("0", 4)}, {"w", pk::floats("0", 4)}})),
                 "key 'w' stands twice in a dict"));
  CHECK(contains(
      error(module("Net", {{"a.w", pk::floats("0", 4)}, {"a", module("A", {{"w", pk::floats("0", 4)}})}})),
      "two tensors are named 'a.w'"));
  CHECK(contains(error(module("Net", {{"w", pk::tensor(pk::storage("FloatStorage", "0", 4), 0, {5}, {1})}})),
                 "tensor 'w': shape [5]"));
  CHECK(contains(error(pk::call(pk::global("torch.jit._pickle", "build_intlist"), {})),
                 "a typed value is not made"));
  CHECK(contains(error(pk::global("__torch__", "Net") + "NR"), "the arguments of a call are not a tuple"));
}

TEST_CASE("torchscript: depth, repetition and rings are bounded") {
  std::string deep = module("M", {{"w", pk::floats("0", 4)}});
  for (int i = 0; i < 32; ++i) deep = module("M", {{"m", deep}});
  CHECK_NOTHROW(read_bytes(script(deep)));
  CHECK(contains(error_of_bytes(script(module("M", {{"m", deep}}))), "modules are nested more than 32 deep"));
  // A module that is its own attribute.
  CHECK(contains(
      error_of_bytes(script(pk::global("__torch__", "M") + ")\x81q\x01}" + pk::text("m") + "h\x01" + "sb")),
      "modules are nested more than 32 deep"));
  // Ten levels of ten references each.
  std::string laughs = module("M", {{"w", pk::floats("0", 4)}});
  for (char level = 1; level <= 10; ++level) {
    const std::string again = std::string("h") + level;
    std::string attributes = pk::text("0") + laughs + "q" + level;
    for (char i = '1'; i <= '9'; ++i) attributes += pk::text(std::string(1, i)) + again;
    laughs = pk::global("__torch__", "M") + ")\x81}(" + attributes + "ub";
  }
  CHECK(contains(error_of_bytes(script(laughs)), "more than 1000000 attributes"));
  // A module whose attribute has a name of a megabyte, under a hundred names.
  std::string wide = pk::global("__torch__", "M") + ")\x81}(" + pk::text("first") +
                     module("M", {{std::string(1 << 20, 'x'), pk::floats("0", 4)}}) + "q\x01";
  for (int i = 0; i < 100; ++i) wide += pk::text(std::to_string(i)) + "h\x01";
  CHECK(contains(error_of_bytes(script(wide + "ub")), "the names of its modules and tensors take more than"));
  // A dict of many attributes, set on a module over and over.
  std::string many = "}(";
  for (int i = 0; i < 50000; ++i) many += "K\x01N";
  many += "uq\x01";
  for (int i = 0; i < 200; ++i) many += "0" + pk::global("__torch__", "M") + ")\x81h\x01" + "b";
  CHECK(contains(error_of_bytes(script(many)), "containers are copied too often"));
}

TEST_CASE("torch: the names of a small file's tensors cannot fill the memory") {
  std::string wide = "](" + pk::dict({{std::string(1 << 20, 'x'), pk::floats("0", 4)}}) + "q\x01";
  for (int i = 0; i < 100; ++i) wide += "h\x01";
  CHECK(contains(error_of_bytes(torch_zip(wide + "e", {{"0", four}})),
                 "the names of its tensors take more than"));
}

TEST_CASE("torchscript: the format before PyTorch 1.4") {
  CHECK(contains(error_of_bytes(zip({{"net/model.json", "{}"}, {"net/tensors/0", four}})),
                 "before PyTorch 1.4"));
}

}  // namespace retrace::weights::test
