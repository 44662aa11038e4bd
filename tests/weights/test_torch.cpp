// Files that PyTorch wrote (make_fixtures.py), 1.0, 1.13 and 2.15, in every container each can write; values bit by bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

using Shape = std::vector<std::int64_t>;

std::vector<float> range(int begin, int end, int step = 1) {
  std::vector<float> values;
  for (int i = begin; i < end; i += step) values.push_back(float(i));
  return values;
}

std::string f32(const Checkpoint& checkpoint, const std::string& name, const Shape& shape) {
  return raw(checkpoint, name, DType::f32, shape);
}

std::vector<std::string> names(const Checkpoint& checkpoint) {
  std::vector<std::string> out;
  for (const HostTensor& tensor : checkpoint.tensors) out.push_back(tensor.name);
  return out;
}

bool any_note(const Checkpoint& checkpoint, std::string_view part) {
  return std::any_of(checkpoint.notes.begin(), checkpoint.notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

// Runs the check on every file of one fixture. Which there must be is written down here, so that none is missed.
template <class Check>
void on_both(const std::string& name, Check check) {
  std::vector<std::string> kinds;
  if (name != "resnet18") kinds = {"zip", "legacy"};
  if (name == "plain") kinds.push_back("tar");
  if (name != "many") {
    for (const char* kind : {"torch-1.0.legacy", "torch-2.15.legacy", "torch-2.15.zip"})
      kinds.push_back(kind);
  }
  for (const std::string& kind : kinds) {
    const Checkpoint checkpoint = read_checkpoint(fixture(name + "." + kind + ".pt"));
    INFO(checkpoint.path);
    CHECK(checkpoint.format == "pytorch " + kind.substr(kind.rfind('.') + 1));
    check(checkpoint);
  }
}

bool written_by(const Checkpoint& checkpoint, std::string_view version) {
  return checkpoint.path.find(".torch-" + std::string(version) + ".") != std::string::npos;
}

}  // namespace

TEST_CASE("torch: every element type") {
  on_both("plain", [](const Checkpoint& c) {
    constexpr double inf = std::numeric_limits<double>::infinity(),
                     nan = std::numeric_limits<double>::quiet_NaN();
    using D = std::numeric_limits<double>;
    using F = std::numeric_limits<float>;
    CHECK(raw(c, "f64", DType::f64, {12}) ==
          bytes_of<double>({0.0, -0.0, inf, -inf, nan, D::max(), -D::max(), D::min(), D::denorm_min(), -1.5,
                            1.0 / 3, 0.1}));
    constexpr float finf = F::infinity(), fnan = F::quiet_NaN();
    const std::vector<float> singles{
        0.f, -0.f, finf, -finf, fnan, F::max(), -F::max(), F::min(), F::denorm_min(), -1.5f, 1.f / 3, 0.1f};
    CHECK(f32(c, "f32", {12}) == bytes_of(singles));
    // IEEE 754 binary16 and bfloat16 codes of the same list, each with its own extremes.
    CHECK(raw(c, "f16", DType::f16, {12}) ==
          bytes_of<std::uint16_t>({0x0000, 0x8000, 0x7c00, 0xfc00, 0x7e00, 0x7bff, 0xfbff, 0x0400, 0x0001,
                                   0xbe00, 0x3555, 0x2e66}));
    const bool oldest = written_by(c, "1.0");  // knows no bfloat16 and no bool
    CHECK(oldest == (c.find("bf16") == nullptr));
    CHECK(oldest == (c.find("bool") == nullptr));
    if (!oldest) {
      CHECK(raw(c, "bf16", DType::bf16, {12}) ==
            bytes_of<std::uint16_t>({0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc0, 0x7f7f, 0xff7f, 0x0080, 0x0001,
                                     0xbfc0, 0x3eab, 0x3dcd}));
      CHECK(raw(c, "bool", DType::boolean, {3}) == bytes_of<std::uint8_t>({1, 0, 1}));
      CHECK(c.find("bool")->to_f32() == std::vector<float>{1, 0, 1});
    }
    using L = std::numeric_limits<std::int64_t>;
    CHECK(raw(c, "i64", DType::i64, {5}) ==
          bytes_of<std::int64_t>({L::min(), -1, 0, (std::int64_t(1) << 53) + 1, L::max()}));
    CHECK(raw(c, "i32", DType::i32, {5}) ==
          bytes_of<std::int32_t>({std::numeric_limits<std::int32_t>::min(), -1, 0, (1 << 24) + 1,
                                  std::numeric_limits<std::int32_t>::max()}));
    CHECK(raw(c, "i16", DType::i16, {4}) == bytes_of<std::int16_t>({-32768, -1, 0, 32767}));
    CHECK(raw(c, "i8", DType::i8, {4}) == bytes_of<std::int8_t>({-128, -1, 0, 127}));
    CHECK(raw(c, "u8", DType::u8, {4}) == bytes_of<std::uint8_t>({0, 1, 128, 255}));

    // Widened or narrowed as PyTorch's .float() does: 2^53 + 1 and 2^24 + 1 are ties and go to even.
    CHECK(c.find("i64")->to_f32() == std::vector<float>{-0x1p63f, -1, 0, 0x1p53f, 0x1p63f});
    CHECK(c.find("i32")->to_f32() == std::vector<float>{-0x1p31f, -1, 0, 0x1p24f, 0x1p31f});
    CHECK(c.find("i16")->to_f32() == std::vector<float>{-32768, -1, 0, 32767});
    CHECK(c.find("i8")->to_f32() == std::vector<float>{-128, -1, 0, 127});
    CHECK(c.find("u8")->to_f32() == std::vector<float>{0, 1, 128, 255});
    CHECK(c.find("f64")->to_f32()[5] == finf);
    CHECK(c.find("f64")->to_f32()[11] == 0.1f);
  });
}

TEST_CASE("torch: scalars, empty tensors and views of one storage") {
  on_both("plain", [](const Checkpoint& c) {
    CHECK(f32(c, "scalar", {}) == bytes_of<float>({2.5f}));
    CHECK(raw(c, "scalar_i64", DType::i64, {}) == bytes_of<std::int64_t>({7}));
    CHECK(f32(c, "empty", {0}).empty());
    CHECK(f32(c, "empty_3d", {2, 0, 3}).empty());
    CHECK(f32(c, "base", {24}) == bytes_of(range(0, 24)));
    CHECK(f32(c, "slice", {6}) == bytes_of(range(5, 11)));
    CHECK(f32(c, "step", {5}) == bytes_of(range(1, 24, 5)));
    std::vector<float> transposed;
    for (int i = 0; i < 6; ++i) {
      for (int j = 0; j < 4; ++j) transposed.push_back(float(j * 6 + i));
    }
    CHECK(f32(c, "transposed", {6, 4}) == bytes_of(transposed));
    CHECK(f32(c, "column", {4, 1}) == bytes_of<float>({2, 8, 14, 20}));
    CHECK(f32(c, "expanded", {5}) == bytes_of<float>({3, 3, 3, 3, 3}));
    std::vector<float> permuted;  // of a [2, 3, 4, 5] volume: axes 3, 0, 2, 1
    for (int d = 0; d < 5; ++d) {
      for (int a = 0; a < 2; ++a) {
        for (int e = 0; e < 4; ++e) {
          for (int b = 0; b < 3; ++b) permuted.push_back(float(((a * 3 + b) * 4 + e) * 5 + d));
        }
      }
    }
    CHECK(f32(c, "permuted", {5, 2, 4, 3}) == bytes_of(permuted));
    CHECK(f32(c, "channels_last", {2, 3, 4, 5}) == bytes_of(range(1000, 1120)));
    CHECK(f32(c, "parameter", {3}) == bytes_of<float>({0, 0.5f, 1}));
    CHECK(c.notes.empty());
    // Contiguous views share the mapped bytes; nothing is copied for them.
    CHECK(c.find("slice")->data.get() == c.find("base")->data.get() + 5 * sizeof(float));
  });
}

TEST_CASE("torch: a module's state dict keeps its names and order") {
  on_both("module", [](const Checkpoint& c) {
    CHECK(names(c) == std::vector<std::string>{"0.weight", "1.weight", "1.bias", "1.running_mean",
                                               "1.running_var", "1.num_batches_tracked", "2.weight",
                                               "2.bias"});
    const std::vector<Shape> shapes{{3, 2, 3, 3}, {3}, {3}, {3}, {3}, {}, {2, 3}, {2}};
    for (std::size_t at = 0; at < shapes.size(); ++at) {
      const HostTensor& tensor = c.tensors[at];
      CHECK(tensor.shape == shapes[at]);
      std::vector<float> expected(std::size_t(tensor.count()));
      for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = float(i) * 0.25f + float(at);
      CHECK(tensor.to_f32() == expected);
    }
    CHECK(c.find("1.num_batches_tracked")->dtype == DType::i64);
  });
}

TEST_CASE("torch: a training checkpoint gives its weights and mentions the rest") {
  const Checkpoint bare = read_checkpoint(fixture("module.zip.pt"));
  on_both("wrapped", [&](const Checkpoint& c) {
    CHECK(names(c) == names(bare));  // without `module.`
    for (const HostTensor& tensor : bare.tensors) {
      CHECK(raw(c, tensor.name, tensor.dtype, tensor.shape) ==
            raw(bare, tensor.name, tensor.dtype, tensor.shape));
    }
    CHECK(c.metadata == std::map<std::string, std::string>{
                            {"arch", "tiny"}, {"best_prec1", "91.75"}, {"done", "True"}, {"epoch", "90"}});
    CHECK(any_note(c, "weights taken from entry 'state_dict'"));
    CHECK(any_note(c, "'optimizer' (dict)"));
    CHECK(any_note(c, "'best_tensor' (tensor)"));
    CHECK(any_note(c, "'args' (Namespace)"));
    CHECK(any_note(c, "prefix 'module.' removed"));
  });
}

TEST_CASE("torch: containers in containers, protocol 4") {
  on_both("nested", [](const Checkpoint& c) {
    std::vector<std::string> found = names(c),
                             expected{"stem.weight", "blocks.0.weight", "blocks.1.0.weight", "3"};
    if (written_by(c, "1.0")) {  // Python 2's dicts have no order
      std::sort(found.begin(), found.end());
      std::sort(expected.begin(), expected.end());
    }
    CHECK(found == expected);
    CHECK(f32(c, "stem.weight", {4}) == bytes_of(range(0, 4)));
    CHECK(f32(c, "blocks.0.weight", {2}) == bytes_of(range(10, 12)));
    CHECK(f32(c, "blocks.1.0.weight", {2}) == bytes_of(range(20, 22)));
    CHECK(f32(c, "3", {1}) == bytes_of(range(30, 31)));
    CHECK(any_note(c, "weights taken from entry 'model'"));
    CHECK(any_note(c, "weights taken from entry 'state_dict'"));
    CHECK(any_note(c, "'stem.stride' (int)"));
    CHECK(any_note(c, "'history' (dict)"));
  });
}

TEST_CASE("torch: more strings and objects than one byte can number") {
  on_both("many", [](const Checkpoint& c) {
    REQUIRE(c.tensors.size() == 120);
    for (int i = 0; i < 120; ++i) {
      const std::string name =
          "layer" + std::to_string(i) + "." + std::string(std::size_t(i % 3) * 100, 'x') + "weight";
      CHECK(f32(c, name, {2}) == bytes_of<float>({float(i), float(i)}));
    }
  });
}

TEST_CASE("torch: element types that only newer versions have") {
  for (const char* kind : {"torch-2.15.zip", "torch-2.15.legacy"}) {
    const Checkpoint c = read_checkpoint(fixture("plain." + std::string(kind) + ".pt"));
    INFO(c.path);
    CHECK(raw(c, "u16", DType::u16, {4}) == bytes_of<std::uint16_t>({0, 1, 0x8000, 0xffff}));
    CHECK(raw(c, "u32", DType::u32, {4}) == bytes_of<std::uint32_t>({0, 1, 0x80000000, 0xffffffff}));
    CHECK(raw(c, "u64", DType::u64, {4}) ==
          bytes_of<std::uint64_t>({0, 1, std::uint64_t(1) << 63, ~std::uint64_t(0)}));
    const std::string codes = bytes_of<std::uint8_t>({0x00, 0x80, 0x38, 0x7e, 0x01, 0xbc});
    CHECK(raw(c, "f8_e4m3", DType::f8_e4m3, {6}) == codes);
    CHECK(raw(c, "f8_e5m2", DType::f8_e5m2, {6}) == codes);
    CHECK(raw(c, "f8_view", DType::f8_e4m3, {3, 2}) ==
          bytes_of<std::uint8_t>({0x00, 0x7e, 0x80, 0x01, 0x38, 0xbc}));
  }
}

TEST_CASE("torch: the records of the newest zip files") {
  // So that the fixture is known to have them: each says something about the file, none holds weights.
  const std::string bytes = read_file(fixture("resnet18.torch-2.15.zip.pt"));
  for (const char* record :
       {"/.format_version", "/.storage_alignment", "/byteorder", "/version", "/.data/serialization_id"}) {
    CHECK(contains(bytes, record));
  }
}

TEST_CASE("torch: a whole ResNet-18, narrow") {
  on_both("resnet18", [](const Checkpoint& c) {
    REQUIRE(c.tensors.size() == 122);
    CHECK(c.notes.empty());
    CHECK(c.find("conv1.weight")->shape == Shape{2, 3, 7, 7});
    CHECK(c.find("layer4.0.downsample.0.weight")->shape == Shape{16, 8, 1, 1});
    CHECK(c.find("fc.bias")->shape == Shape{10});
    for (std::size_t at = 0; at < c.tensors.size(); ++at) {
      const HostTensor& tensor = c.tensors[at];
      INFO(tensor.name);
      if (tensor.name.ends_with("num_batches_tracked")) {
        CHECK(raw(c, tensor.name, DType::i64, {}) == bytes_of<std::int64_t>({std::int64_t(at)}));
        continue;
      }
      std::vector<float> expected(std::size_t(tensor.count()));
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] = (float((i * 7 + at * 3) % 2048) - 1024) / 64;
      }
      CHECK(raw(c, tensor.name, DType::f32, tensor.shape) == bytes_of(expected));
    }
  });
}

}  // namespace retrace::weights::test
