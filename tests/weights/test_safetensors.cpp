#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "build_files.h"
#include "weights/float_formats.h"
#include "weights/npz_writer.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace retrace::weights::test {
namespace fs = std::filesystem;

TEST_CASE("safetensors: a file written by hand is read") {
  // Spaces after the header are padding; tensors come in the order of their bytes.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},)"
      R"( "a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"F16","shape":[0,3],"data_offsets":[16,16]}}   )";
  const std::string body = little(std::int64_t(-5)) + bytes_of<float>({1.5f, -2.f});
  const Checkpoint checkpoint = read_bytes(safetensors(header, body));
  CHECK(checkpoint.format == "safetensors");
  CHECK(checkpoint.metadata == std::map<std::string, std::string>{{"format", "pt"}});
  REQUIRE(checkpoint.tensors.size() == 3);
  CHECK(checkpoint.tensors[0].name == "a");
  CHECK(raw(checkpoint, "a", DType::i64, {}) == little(std::int64_t(-5)));
  CHECK(raw(checkpoint, "b", DType::f32, {2}) == bytes_of<float>({1.5f, -2.f}));
  CHECK(raw(checkpoint, "e", DType::f16, {0, 3}).empty());
  CHECK(checkpoint.find("c") == nullptr);
  CHECK(read_bytes(safetensors("{}", "")).tensors.empty());
}

TEST_CASE("safetensors: every element type comes back bit by bit") {
  const TemporaryFolder folder;
  const Checkpoint source = read_checkpoint(fixture("plain.zip.pt"));
  SafetensorsOptions options;
  options.metadata = {{"model", "tiny"}, {"quote", "\"\n\\"}};
  write_safetensors(folder / "out.safetensors", source.tensors, options);
  CHECK(folder.entries() == 1);
  const Checkpoint copy = read_checkpoint(folder / "out.safetensors");
  CHECK(copy.metadata == options.metadata);
  REQUIRE(copy.tensors.size() == source.tensors.size());
  for (const HostTensor& tensor : source.tensors) {
    INFO(tensor.name);
    CHECK(raw(copy, tensor.name, tensor.dtype, tensor.shape) ==
          raw(source, tensor.name, tensor.dtype, tensor.shape));
  }
  // Each tensor begins at a multiple of its element size.
  const std::string bytes = read_file(folder / "out.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  CHECK(header % 8 == 0);
  std::size_t last = 8;
  for (const HostTensor& tensor : copy.tensors) {
    CHECK(dtype_size(tensor.dtype) <= last);
    last = dtype_size(tensor.dtype);
  }
}

TEST_CASE("safetensors: all fifteen element types have a name to write and read") {
  const TemporaryFolder folder;
  std::vector<HostTensor> tensors;
  const auto bytes = std::make_shared<std::vector<std::byte>>(8, std::byte{1});
  for (int i = 0; i <= int(DType::boolean); ++i) {
    const auto type = DType(i);
    tensors.push_back({std::string(dtype_name(type)), type, {1}, {bytes, bytes->data()}});
  }
  write_safetensors(folder / "all", tensors);
  const Checkpoint copy = read_checkpoint(folder / "all");
  REQUIRE(copy.tensors.size() == 15);
  for (const HostTensor& tensor : copy.tensors) CHECK(tensor.name == dtype_name(tensor.dtype));
  CHECK(copy.find("f8_e4m3")->to_f32() == std::vector<float>{0x1p-9f});
  CHECK(copy.find("f8_e5m2")->to_f32() == std::vector<float>{0x1p-16f});
  CHECK(copy.find("u16")->to_f32() == std::vector<float>{0x0101});
  CHECK(copy.find("u32")->to_f32() == std::vector<float>{float(0x01010101)});
  CHECK(copy.find("u64")->to_f32() == std::vector<float>{float(0x0101010101010101)});
}

TEST_CASE("safetensors: 8-bit floats are read by their names and widened on request") {
  const TemporaryFolder folder;
  write_file(folder / "f8", safetensors(R"({"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]},)"
                                        R"("b":{"dtype":"F8_E5M2","shape":[1,2],"data_offsets":[3,5]}})",
                                        "\x38\xb8\x7e\x3c\x7b"));
  const Checkpoint source = read_checkpoint(folder / "f8");
  CHECK(raw(source, "a", DType::f8_e4m3, {3}) == "\x38\xb8\x7e");
  SafetensorsOptions options;
  options.float_type = DType::f16;
  write_safetensors(folder / "f16", source.tensors, options);
  const Checkpoint wide = read_checkpoint(folder / "f16");
  REQUIRE(wide.find("a") != nullptr);
  CHECK(wide.find("a")->dtype == DType::f16);
  CHECK(wide.find("a")->to_f32() == std::vector<float>{1, -1, 448});
  CHECK(wide.find("b")->to_f32() == std::vector<float>{1, 57344});
  options.float_type = DType::f8_e4m3;
  CHECK(contains(error_of([&] { write_safetensors(folder / "no", source.tensors, options); }),
                 "cannot write as f8_e4m3"));
}

TEST_CASE("safetensors: floating tensors are converted on request, integers never") {
  const TemporaryFolder folder;
  const std::vector<float> values{0.1f, -1.f / 3, 1e-6f, 1000.25f};
  HostTensor counter{"n", DType::i64, {}, nullptr};
  const auto eight = std::make_shared<std::int64_t>(8);
  counter.data = {eight, reinterpret_cast<const std::byte*>(eight.get())};
  const std::vector<HostTensor> tensors{HostTensor::from_f32("w", {4}, values), counter};
  for (const DType type : {DType::f16, DType::bf16, DType::f32}) {
    SafetensorsOptions options;
    options.float_type = type;
    write_safetensors(folder / "w.safetensors", tensors, options);  // over the one before
    const Checkpoint copy = read_checkpoint(folder / "w.safetensors");
    REQUIRE(copy.find("w") != nullptr);
    CHECK(copy.find("w")->dtype == type);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float expected = type == DType::f16    ? f16_to_f32(f32_to_f16(values[i]))
                             : type == DType::bf16 ? bf16_to_f32(f32_to_bf16(values[i]))
                                                   : values[i];
      CHECK(copy.find("w")->to_f32()[i] == expected);
    }
    CHECK(raw(copy, "n", DType::i64, {}) == little(std::int64_t(8)));
  }
  CHECK(folder.entries() == 1);
}

TEST_CASE(
    "safetensors: the hash that is written is the one that is found, whatever the order of the tensors") {
  const TemporaryFolder folder;
  const auto tensor = [](const std::string& name, DType type, std::vector<std::int64_t> shape) {
    HostTensor made{name, type, std::move(shape), nullptr};
    const auto bytes = std::make_shared<std::vector<std::byte>>(made.byte_size() + 1, std::byte{7});
    made.data = {bytes, bytes->data()};
    return made;
  };
  // Sorted by size in the file; two empty ones lie at one place and are found in the order of their names.
  const std::vector<HostTensor> tensors{tensor("u8", DType::u8, {3}),      tensor("z", DType::f32, {0}),
                                        tensor("a", DType::f32, {0, 2}),   tensor("f32", DType::f32, {5}),
                                        tensor("f64", DType::f64, {1, 2}), tensor("last", DType::i8, {0})};
  SafetensorsOptions options;
  options.content_hash = true;
  // What could be taken for the place of the hash.
  options.metadata = {{"a", "\"content_sha256\":\"" + std::string(64, '0') + "\""},
                      {"b", std::string(64, '0')}};
  for (const auto type : {std::optional<DType>(), std::optional(DType::f16)}) {
    options.float_type = type;
    write_safetensors(folder / "hashed", tensors, options);
    const Checkpoint copy = read_checkpoint(folder / "hashed");
    CHECK(copy.metadata.at("content_sha256") == content_sha256(copy.tensors));
    CHECK(copy.metadata.at("a") == options.metadata.at("a"));
    CHECK(copy.metadata.at("b") == options.metadata.at("b"));
    check_content(copy);
  }
  options.content_hash = false;
  write_safetensors(folder / "plain", tensors, options);
  CHECK_FALSE(read_checkpoint(folder / "plain").metadata.contains("content_sha256"));
}

TEST_CASE("tensors made when they are written: once each, few at a time, and what was announced") {
  const TemporaryFolder folder;
  int made = 0, alive = 0, most = 0;
  std::vector<TensorToWrite> lazy;
  for (int i = 0; i < 20; ++i) {
    const std::string name = "t" + std::to_string(i);
    lazy.emplace_back(name, DType::f32, std::vector<std::int64_t>{1000}, [&, name, i] {
      ++made;
      HostTensor tensor = HostTensor::from_f32(name, {1000}, std::vector<float>(1000, float(i)));
      const auto bytes = tensor.data;
      std::byte* const data = const_cast<std::byte*>(bytes.get());
      most = std::max(most, ++alive);
      tensor.data = {data, [&, bytes](const std::byte*) { --alive; }};
      return tensor;
    });
  }
  write_safetensors(folder / "lazy.safetensors", lazy);
  CHECK(made == 20);
  CHECK(alive == 0);
  CHECK(most == 1);
  const Checkpoint copy = read_checkpoint(folder / "lazy.safetensors");
  REQUIRE(copy.tensors.size() == 20);
  for (int i = 0; i < 20; ++i) {
    CHECK(copy.find("t" + std::to_string(i))->to_f32() == std::vector<float>(1000, float(i)));
  }
  const HostTensor wrong = HostTensor::from_f32("w", {2}, {1, 2});
  for (const TensorToWrite& announced : {TensorToWrite("w", DType::f32, {3}, [&] { return wrong; }),
                                         TensorToWrite("w", DType::f16, {2}, [&] { return wrong; }),
                                         TensorToWrite("v", DType::f32, {2}, [&] { return wrong; })}) {
    CHECK(contains(error_of([&] { write_safetensors(folder / "no", std::span(&announced, 1)); }),
                   "was made, expected"));
    CHECK(contains(error_of([&] { write_npz(folder / "no", std::span(&announced, 1)); }),
                   "was made, expected"));
  }
  CHECK(folder.entries() == 1);
}

TEST_CASE("safetensors: a failed write leaves the folder as it was") {
  const TemporaryFolder folder;
  const auto target = folder / "out.safetensors";
  write_file(target, "before");
  const auto failing = [&](const std::vector<HostTensor>& tensors, const SafetensorsOptions& options = {}) {
    const std::string message = error_of([&] { write_safetensors(target, tensors, options); });
    CHECK(folder.entries() == 1);
    CHECK(read_file(target) == "before");
    return message;
  };
  const HostTensor one = HostTensor::from_f32("a", {1}, {1});
  const HostTensor big = HostTensor::from_f32("b", {1}, {1e30f});
  SafetensorsOptions half;
  half.float_type = DType::f16;
  CHECK(contains(failing({one, one}), "out.safetensors: two tensors are named 'a'"));
  CHECK(contains(failing({one, big}, half), "tensor 'b': value 1e+30 does not fit f16"));  // after the first
  CHECK(contains(failing({HostTensor::from_f32("", {1}, {1})}), "a tensor cannot be named ''"));
  CHECK(contains(failing({HostTensor::from_f32("__metadata__", {1}, {1})}), "cannot be named"));
  CHECK(contains(failing({HostTensor::from_f32("\xff", {1}, {1})}), "cannot write the header"));
  SafetensorsOptions integers;
  integers.float_type = DType::i8;
  CHECK(contains(failing({one}, integers), "cannot write as i8"));

  // A limit on the file size stands for a full disk: both fail a write half-way.
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  struct rlimit small = before;
  small.rlim_cur = 4096;
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = failing({HostTensor::from_f32("w", {5000}, std::vector<float>(5000))});
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(contains(message, "out.safetensors: cannot be written: File too large"));
}

TEST_CASE("safetensors: a link is followed, and a file can be written over itself") {
  const TemporaryFolder folder;
  write_safetensors(folder / "real", std::vector{HostTensor::from_f32("a", {2}, {1, 2})});
  fs::create_symlink("real", folder / "link");
  const Checkpoint source = read_checkpoint(folder / "link");
  std::vector<HostTensor> tensors = source.tensors;
  tensors.push_back(HostTensor::from_f32("b", {1}, {3}));
  write_safetensors(folder / "link", tensors);
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(folder.entries() == 2);
  const Checkpoint copy = read_checkpoint(folder / "real");
  CHECK(copy.tensors.size() == 2);
  CHECK(copy.find("a")->to_f32() == std::vector<float>{1, 2});
  CHECK(source.find("a")->to_f32() == std::vector<float>{1, 2});
}

}  // namespace retrace::weights::test
