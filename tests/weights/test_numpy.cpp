// NumPy arrays that are right: files NumPy wrote, files made by hand, and what write_npz makes of them.
#include <doctest/doctest.h>

#include <cmath>

#include "build_files.h"
#include "weights/atomic_file.h"
#include "weights/mapped_file.h"
#include "weights/npz_writer.h"
#include "weights/readers.h"
#include "weights/zip_writer.h"

namespace retrace::weights::test {
namespace fs = std::filesystem;
namespace {

const std::string head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";

std::vector<float> count_up(int from, int n) {
  std::vector<float> values;
  for (int i = 0; i < n; ++i) values.push_back(float(from + i));
  return values;
}

void check_same(const Checkpoint& a, const std::vector<HostTensor>& b) {
  REQUIRE(a.tensors.size() == b.size());
  for (std::size_t i = 0; i < b.size(); ++i) {
    INFO(b[i].name);
    CHECK(a.tensors[i].name == b[i].name);
    CHECK(raw(a, b[i].name, b[i].dtype, b[i].shape) ==
          std::string(reinterpret_cast<const char*>(b[i].data.get()), b[i].byte_size()));
  }
}

}  // namespace

TEST_CASE("numpy: what savez and savez_compressed write") {
  const std::pair<const char*, DType> types[] = {{"f2", DType::f16}, {"f4", DType::f32}, {"f8", DType::f64},
                                                 {"i1", DType::i8},  {"i2", DType::i16}, {"i4", DType::i32},
                                                 {"i8", DType::i64}, {"u1", DType::u8},  {"u2", DType::u16},
                                                 {"u4", DType::u32}, {"u8", DType::u64}};
  for (const char* name : {"arrays.stored.npz", "arrays.deflated.npz"}) {
    INFO(name);
    const Checkpoint c = read_checkpoint(fixture(name));
    CHECK(c.format == "numpy npz");
    CHECK(c.container.at("npy version") == "1.0");
    REQUIRE(c.tensors.size() == 2 * 11 + 7);
    CHECK(c.tensors[0].name == "little.f2");  // in the archive's order
    CHECK(c.tensors.back().name == "zeros");
    for (const auto& [code, type] : types) {
      for (const char* order : {"little.", "big."}) {
        const HostTensor* tensor = c.find(std::string(order) + code);
        REQUIRE(tensor != nullptr);
        CHECK(tensor->dtype == type);
        CHECK(tensor->shape == std::vector<std::int64_t>{2, 3});
        CHECK(tensor->to_f32() == count_up(100, 6));
      }
    }
    CHECK(raw(c, "b1", DType::boolean, {3}) == std::string("\x01\x00\x01", 3));
    CHECK(raw(c, "fortran", DType::f32, {2, 3, 4}) == bytes_of(count_up(0, 24)));
    raw(c, "fortran.big", DType::f64, {2, 3, 4});
    CHECK(c.find("fortran.big")->to_f32() == count_up(0, 24));
    CHECK(raw(c, "scalar", DType::f32, {}) == little(2.5f));
    CHECK(raw(c, "empty", DType::f32, {0, 3}).empty());
    CHECK(raw(c, "strided", DType::f32, {2, 3}) == bytes_of<float>({1, 3, 5, 13, 15, 17}));
    CHECK(raw(c, "zeros", DType::f32, {16, 16}) == std::string(1024, '\0'));
  }
}

TEST_CASE("numpy: one array is a tensor named like its file, a folder of them a checkpoint") {
  const TemporaryFolder folder;
  const std::string body = bytes_of<float>({1, 2});
  write_file(folder / "fc.weight.npy", npy(head, body));
  Checkpoint c = read_checkpoint(folder / "fc.weight.npy");
  CHECK(c.format == "numpy array");
  CHECK(c.container.at("npy version") == "1.0");
  CHECK(raw(c, "fc.weight", DType::f32, {2}) == body);

  write_file(folder / "bias.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", little(3.f)));
  write_file(folder / "README", "not an array");
  fs::create_directory(folder / "more");
  c = read_checkpoint(folder.path());
  CHECK(c.format == "numpy folder");
  CHECK(c.container.at("npy version") == "1.0");
  REQUIRE(c.tensors.size() == 2);
  CHECK(c.tensors[0].name == "bias");
  CHECK(raw(c, "fc.weight", DType::f32, {2}) == body);
  REQUIRE(c.notes.size() == 1);
  CHECK(c.notes[0] == "left out beside the arrays: 'README', 'more'");
  // Told by content: another name is no matter.
  write_file(folder / "array.txt", npy(head, body));
  CHECK(read_checkpoint(folder / "array.txt").tensors.at(0).name == "array");
}

TEST_CASE("numpy: headers of every version and spelling") {
  const std::string body = bytes_of<float>({1, 2});
  const auto reads = [&](const std::string& bytes) {
    const Checkpoint c = read_bytes(bytes);
    return c.tensors.size() == 1 && raw(c, "file", DType::f32, {2}) == body;
  };
  CHECK(reads(npy(head, body)));
  CHECK(reads(npy(head + "          \n", body)));
  CHECK(reads(npy(R"( { "shape" : ( 2 , ) , "fortran_order":True,"descr":"=f4"})", body)));
  CHECK(reads(npy("{'descr': '|f4', 'fortran_order': False, 'shape': (2L,)}", body)));  // Python 2
  for (const char version : {2, 3}) {
    CHECK(reads("\x93NUMPY" + std::string(1, version) + std::string(1, '\0') +
                little(std::uint32_t(head.size())) + head + body));
  }
  CHECK(reads(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}",
                  std::string("\x3f\x80\0\0\x40\0\0\0", 8))));
}

TEST_CASE("numpy: write_npz and back, bit by bit") {
  const TemporaryFolder folder;
  const Checkpoint source = read_checkpoint(fixture("arrays.stored.npz"));
  write_npz(folder / "out.npz", source.tensors);
  CHECK(folder.entries() == 1);
  check_same(read_checkpoint(folder / "out.npz"), source.tensors);

  // What PyTorch has beside it: bf16 needs a type to become.
  const Checkpoint torch = read_checkpoint(fixture("plain.zip.pt"));
  CHECK(contains(error_of([&] { write_npz(folder / "out.npz", torch.tensors); }),
                 "tensor 'bf16': NumPy has no type bf16"));
  check_same(read_checkpoint(folder / "out.npz"), source.tensors);  // untouched
  write_npz(folder / "out.npz", std::vector{*torch.find("bf16"), *torch.find("i64")}, DType::f32);
  const Checkpoint wide = read_checkpoint(folder / "out.npz");
  CHECK(raw(wide, "bf16", DType::f32, {12}) == bytes_of(torch.find("bf16")->to_f32()));
  CHECK(raw(wide, "i64", DType::i64, {5}) == raw(torch, "i64", DType::i64, {5}));
  write_npz(folder / "half.npz", std::vector{HostTensor::from_f32("blöck/w", {1, 3}, {1, 0.1f, -2})},
            DType::f16);
  const Checkpoint half = read_checkpoint(folder / "half.npz");
  REQUIRE(half.find("blöck/w") != nullptr);
  CHECK(half.find("blöck/w")->dtype == DType::f16);
  CHECK(std::abs(half.find("blöck/w")->to_f32()[1] - 0.1f) < 1e-4f);
  // Each header fills a multiple of 64 bytes.
  for (const HostTensor& tensor : {HostTensor::from_f32("a", {}, {1}), HostTensor::from_f32("a", {1}, {1}),
                                   HostTensor::from_f32("a", {1, 1, 1, 1, 1, 1, 1}, {1})}) {
    write_npz(folder / "one.npz", std::vector{tensor});
    const std::string bytes = read_file(folder / "one.npz");
    const std::size_t at = bytes.find("\x93NUMPY");
    CHECK((10 + static_cast<unsigned char>(bytes[at + 8]) + 256 * bytes[at + 9]) % 64 == 0);
    CHECK(raw(read_checkpoint(folder / "one.npz"), "a", DType::f32, tensor.shape) == little(1.f));
  }
}

TEST_CASE("numpy: write_npz refuses before it writes") {
  const TemporaryFolder folder;
  const auto message = [&](const std::vector<HostTensor>& tensors, std::optional<DType> type = std::nullopt) {
    const std::string text = error_of([&] { write_npz(folder / "out.npz", tensors, type); });
    CHECK(folder.entries() == 0);
    return text;
  };
  const auto named = [](const std::string& name) { return HostTensor::from_f32(name, {1}, {1e30f}); };
  CHECK(contains(message({named("a"), named("a")}), "out.npz: two tensors are named 'a'"));
  CHECK(contains(message({named("")}), "cannot be named ''"));
  CHECK(contains(message({named(std::string("a\0b", 3))}), "cannot be named"));
  CHECK(contains(message({named("\xff")}), "cannot be named"));
  CHECK(contains(message({named(std::string(65532, 'n'))}), "cannot be named"));
  CHECK(contains(message({named("a")}, DType::bf16), "cannot write as bf16; f32 and f16"));
  CHECK(contains(message({named("a")}, DType::f16), "tensor 'a': value 1e+30 does not fit f16"));
  CHECK(
      contains(message({HostTensor::from_f32("a", std::vector<std::int64_t>(65, 1), {1})}), "65 dimensions"));
}

TEST_CASE("zip writer: the zip64 fields of large archives") {
  const TemporaryFolder folder;
  const std::string small = npy(head, bytes_of<float>({1, 2}));
  const std::string large =
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100,)}", std::string(400, '\0'));
  // As if 300 bytes were 4 GiB: the second record is large, the third far, and so is the directory.
  AtomicFile file(folder / "out.npz", Durability::cached);
  ZipWriter archive(file, 300);
  archive.add("a.npy", {std::as_bytes(std::span(small))});
  archive.add("b.npy",
              {std::as_bytes(std::span(large)).first(70), std::as_bytes(std::span(large)).subspan(70)});
  archive.add("c.npy", {std::as_bytes(std::span(small))});
  archive.finish();
  file.commit();
  CHECK(contains(read_file(folder / "out.npz"), "PK\x06\x06"));
  const Checkpoint c = read_checkpoint(folder / "out.npz");
  REQUIRE(c.tensors.size() == 3);
  CHECK(raw(c, "a", DType::f32, {2}) == bytes_of<float>({1, 2}));
  CHECK(raw(c, "b", DType::f32, {100}) == std::string(400, '\0'));
  CHECK(raw(c, "c", DType::f32, {2}) == bytes_of<float>({1, 2}));

  // More records than 16 bits count.
  AtomicFile many_file(folder / "many.npz", Durability::cached);
  ZipWriter many(many_file);
  for (int i = 0; i < 65540; ++i) many.add(std::to_string(i) + ".npy", {std::as_bytes(std::span(small))});
  many.finish();
  many_file.commit();
  CHECK(read_checkpoint(folder / "many.npz").tensors.size() == 65540);
}

}  // namespace retrace::weights::test
