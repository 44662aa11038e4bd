// ONNX files that lie, attack or make no sense. Cut and damaged ones are in test_files.cpp.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include "build_onnx.h"

namespace retrace::weights::test {
namespace {

using namespace std::string_literals;

std::string error_of_graph(const std::string& graph) {
  const std::string message = error_of_bytes(pb::model(graph));
  CHECK(contains(message, ": ONNX: "));
  return message;
}
std::string error_of_tensor(const std::string& tensor) {
  return error_of_graph(pb::in_graph(tensor));
}
std::string repeat(const std::string& text, std::size_t n) {
  std::string out;
  out.reserve(text.size() * n);
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

const std::string weight = pb::in_graph(pb::floats("w", {1, 2}));
constexpr std::int64_t huge = std::int64_t(1) << 62;

}  // namespace

TEST_CASE("onnx: the wire format's own damage") {
  const auto error = [](const std::string& end) { return error_of_graph(weight + end); };
  CHECK(contains(error("\x2a\xff\xff\xff\xff\x0f"), "needs 4294967295 bytes, but 0 are left"));
  CHECK(contains(error("\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "needs 18446744073709551615 bytes"));
  CHECK(contains(error("\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "a varint is longer than 64 bits"));
  CHECK(contains(error("\x28" + repeat("\x80", 20) + "\x01"), "a varint is longer than 64 bits"));
  CHECK(contains(error("\x28\x80"), "a varint has no end"));
  CHECK(contains(error("\x80"), "a varint has no end"));
  CHECK(contains(error("\x09"
                       "1234"),
                 "needs 8 bytes, but 4 are left"));
  CHECK(contains(error("\x0d"
                       "123"),
                 "needs 4 bytes, but 3 are left"));
  CHECK(contains(error("\x0b\x0c"), "field 1 is a group"));
  CHECK(contains(error("\x0c"), "field 1 is a group"));
  CHECK(contains(error("\x0e"), "wire type 6"));
  CHECK(contains(error("\x0f"), "wire type 7"));
  CHECK(contains(error("\0x"s), "field number 0 does not exist"));
  CHECK(contains(error("\x82\x80\x80\x80\x80\x01\x01x"), "does not exist"));
  // Of the outermost message, behind what tells an ONNX file.
  const std::string start = pb::model(weight) + std::string(600, ' ').replace(0, 3, "\x32\xd5\x04");
  CHECK_NOTHROW(read_bytes(start));
  CHECK(contains(error_of_bytes(start + "\x0b"),
                 "byte "s + std::to_string(start.size()) + ": field 1 is a group"));
}

TEST_CASE("onnx: is told by its whole outermost message") {
  CHECK(contains(error_of_bytes("\x08\x08"), "unknown format"));  // an ir_version and nothing else
  CHECK(contains(error_of_bytes("\x08\x00\x3a\x00"s), "unknown format"));
  CHECK(contains(error_of_bytes("\x08\x21\x3a\x00"s), "unknown format"));
  CHECK(contains(error_of_bytes("\x08\x08\x12\x02\x01\x02"s),
                 "unknown format"));  // a producer of control characters
  CHECK(contains(error_of_bytes("\x08\x08\x0b"), "unknown format"));
  CHECK(contains(error_of_bytes("\x08\x08\x12\x04test"), "has no graph"));
  CHECK(contains(error_of_bytes(pb::number(1, 8) + pb::bytes(7, weight)), "has no opset"));
  CHECK(contains(error_of_bytes(pb::model(weight) + pb::bytes(6, std::string(600, 'x')) + pb::number(1, 99)),
                 "ir_version 99, expected 1 to 32"));
  CHECK(contains(error_of_bytes(pb::model(weight) + pb::bytes(7, weight)), "has a second graph"));
  CHECK(contains(error_of_bytes(pb::model("")), "holds no tensors"));
  CHECK(contains(error_of_bytes("\x08\x08\x3a\x02\x00\x00"s), "unknown format"));
  // A safetensors file whose header is 2 plus 256 times 8 bytes long begins like one, for as long as that goes.
  CHECK(contains(error_of_bytes("\x08\x08\0\0\0\0\0\0{"s), "safetensors"));
  CHECK(contains(error_of_bytes("\x08\x08\x12\x05\0\0\0\0{}"s), "safetensors"));
}

TEST_CASE("onnx: a tensor's values must be as many as its shape says") {
  const auto floats = [](std::initializer_list<std::int64_t> dims, const std::string& more) {
    return pb::tensor("w", dims, 1, more);
  };
  CHECK(contains(error_of_tensor(floats({3}, pb::bytes(9, "12345678"))),
                 "tensor 'w': its raw_data has 8 bytes, shape [3] of f32 needs 12"));
  CHECK(contains(error_of_tensor(floats({2}, pb::bytes(9, "1234567"))), "has 7 bytes"));
  CHECK(contains(error_of_tensor(floats({2}, pb::bytes(9, "123456789"))), "has 9 bytes"));
  CHECK(contains(error_of_tensor(floats({2}, "")), "has 0 values in float_data, shape [2] needs 2"));
  CHECK(contains(error_of_tensor(floats({2}, pb::bytes(4, "1234"))), "has 1 values in float_data"));
  CHECK(contains(error_of_tensor(floats({2}, pb::bytes(4, "12345"))), "packs 5 bytes, no multiple of 4"));
  CHECK(contains(error_of_tensor(floats({2}, pb::number(4, 1))), "float_data is a varint, expected 32 bits"));
  CHECK(contains(error_of_tensor(floats({1 << 30}, pb::bytes(4, "1234"))), "needs 1073741824"));
  CHECK(contains(error_of_tensor(floats({huge, 4}, "")), "is not possible"));
  CHECK(contains(error_of_tensor(floats({huge}, "")), "is not possible"));
  CHECK(contains(error_of_tensor(floats({0, huge, huge}, "")), "is not possible"));
  CHECK(contains(error_of_tensor(floats({-2}, "")), "shape [-2] is not possible"));
  CHECK(contains(error_of_tensor(floats({-2, -1}, pb::bytes(9, "12345678"))), "is not possible"));
  CHECK(contains(error_of_tensor(repeat(pb::number(1, 1), 65) + floats({}, pb::bytes(9, "1234"))),
                 "more than 64 dimensions"));
  CHECK(contains(error_of_tensor(floats({1}, pb::bytes(9, "1234") + pb::bytes(9, "1234"))),
                 "has values in raw_data and again in raw_data"));
  CHECK(contains(error_of_tensor(floats({1}, pb::bytes(4, "1234") + pb::bytes(9, "1234"))),
                 "has values in float_data and again in raw_data"));
  CHECK(contains(error_of_tensor(floats({1}, pb::packed(5, {1}))),
                 "holds FLOAT, expected in float_data, but has int32_data"));
  CHECK(contains(error_of_tensor(pb::tensor("w", {1}, 7, pb::bytes(7, "\x80"))), "a varint has no end"));
  CHECK(contains(error_of_tensor(floats({1}, pb::number(9, 1))), "field 9 is a varint, expected bytes"));
  CHECK(contains(error_of_tensor(floats({1}, pb::bytes(3, "") + pb::bytes(9, "1234"))),
                 "one part of a tensor"));
}

TEST_CASE("onnx: numbers that do not fit the element type") {
  for (const auto& [type, bad, good] : {std::tuple{3, 128, -128},
                                        {3, -129, 127},
                                        {2, 256, 255},
                                        {2, -1, 0},
                                        {4, 65536, 65535},
                                        {5, 32768, -32768},
                                        {9, 2, 1},
                                        {10, 65536, 65535},
                                        {16, -1, 0},
                                        {17, 256, 255},
                                        {19, -1, 0}}) {
    CHECK(contains(error_of_tensor(pb::tensor("w", {1}, type, pb::packed(5, {bad}))), "does not fit"));
    CHECK_NOTHROW(read_bytes(pb::model(pb::in_graph(pb::tensor("w", {1}, type, pb::packed(5, {good}))))));
  }
  CHECK(contains(error_of_tensor(pb::tensor("w", {1}, 6, pb::packed(5, {std::int64_t(1) << 31}))),
                 "does not fit i32"));
  CHECK(contains(error_of_tensor(pb::tensor("w", {1}, 12, pb::packed(11, {std::int64_t(1) << 32}))),
                 "does not fit u32"));
}

TEST_CASE("onnx: element types that are not read, by name") {
  for (const auto& [type, name] : {std::pair{8, "STRING"},
                                   {14, "COMPLEX64"},
                                   {15, "COMPLEX128"},
                                   {18, "FLOAT8E4M3FNUZ"},
                                   {20, "FLOAT8E5M2FNUZ"},
                                   {21, "UINT4"},
                                   {22, "INT4"},
                                   {23, "FLOAT4E2M1"}}) {
    CHECK(contains(error_of_tensor(pb::tensor("w", {1}, type, pb::bytes(9, "1"))),
                   "tensor 'w': holds "s + name + ", which is not read"));
  }
  for (const int type : {0, 24, -1}) {
    CHECK(contains(error_of_tensor(pb::tensor("w", {1}, type, "")), "which is not known"));
  }
}

TEST_CASE("onnx: a graph that contradicts itself") {
  CHECK(contains(error_of_graph(weight + weight), "two initialisers are named 'w'"));
  CHECK(contains(error_of_graph(pb::in_graph(pb::floats("", {1}))), "an initialiser has no name"));
  CHECK(contains(error_of_graph(weight + pb::bytes(15, "")), "a sparse initialiser"));
  CHECK(contains(error_of_graph(weight + pb::node("Relu", {"x"}, {"y"})),
                 "node 0 ('Relu') reads 'x', which nothing before it makes"));
  // A ring, and a node that reads itself.
  CHECK(contains(error_of_graph(weight + pb::node("Add", {"w", "b"}, {"a"}) + pb::node("Relu", {"a"}, {"b"})),
                 "node 0 ('Add') reads 'b'"));
  CHECK(contains(error_of_graph(weight + pb::node("Relu", {"a"}, {"a"})), "reads 'a'"));
  CHECK(contains(error_of_graph(weight + pb::node("Relu", {"w"}, {"a"}) + pb::node("Relu", {"w"}, {"a"})),
                 "node 1 ('Relu') makes 'a', which there is already"));
  CHECK(
      contains(error_of_graph(weight + pb::node("Relu", {"w"}, {"w"})), "makes 'w', which there is already"));
  CHECK(contains(error_of_graph(weight + pb::node("Relu", {"w"}, {"a", "a"})),
                 "makes 'a', which there is already"));
  CHECK(contains(error_of_graph(weight + pb::bytes(12, pb::value("y"))), "nothing makes the output 'y'"));
  CHECK(contains(error_of_graph(weight + pb::bytes(11, pb::value("x")) + pb::bytes(11, pb::value("x"))),
                 "two inputs are named 'x'"));
  CHECK(contains(error_of_graph(weight + pb::bytes(11, "")), "an input has no name"));
  CHECK(contains(error_of_graph(weight + pb::bytes(1, pb::bytes(3, "n"))), "node 0 names no operator"));
  const std::string axis = pb::attribute("axis", 2, pb::number(3, 1));
  CHECK(contains(error_of_graph(weight + pb::node("Concat", {"w"}, {"a"}, axis + axis)),
                 "has attribute 'axis' twice"));
  CHECK(contains(error_of_graph(weight + pb::node("Constant", {}, {"a"}, axis + pb::attribute("b", 2, ""))),
                 "has 2 attributes, expected its value alone"));
  CHECK(contains(error_of_graph(weight + pb::node("Constant", {}, {"a"}, pb::attribute("value", 4, ""))),
                 "is to be a tensor, but has none"));
  CHECK(contains(error_of_graph(weight + pb::node("X", {}, {}, pb::bytes(5, pb::number(3, 1)))),
                 "an attribute has no name"));
  CHECK(contains(error_of_graph(weight + pb::node("X", {}, {}, pb::attribute("a", 2, pb::bytes(21, "b")))),
                 "refers to a function's"));
  CHECK(contains(error_of_graph(weight + pb::number(1, 5)), "a node is a varint, expected bytes"));
}

TEST_CASE("onnx: depth, numbers and sizes are bounded") {
  // Graphs in attributes are not looked into, however deep.
  std::string deep = "x";
  for (int i = 0; i < 1000; ++i)
    deep = pb::node("If", {}, {}, pb::bytes(5, pb::bytes(1, "then") + pb::bytes(6, deep)));
  CHECK_NOTHROW(read_bytes(pb::model(weight + deep)));
  CHECK(contains(error_of_graph(weight + repeat(pb::bytes(1, ""), 1'000'000)), "node 0 names no operator"));
  CHECK(contains(error_of_graph(weight + repeat(pb::node("X", {}, {}), 100'001)), "more than 100000 nodes"));
  CHECK(
      contains(error_of_graph(weight + pb::bytes(1, pb::bytes(4, "X") + repeat(pb::bytes(1, ""), 1'000'001))),
               "more than 1000000 names"));
  std::string attributes;
  for (int i = 0; i < 65; ++i) attributes += pb::attribute(std::to_string(i), 2, "");
  CHECK(contains(error_of_graph(weight + pb::node("X", {}, {}, attributes)),
                 "more than 64 attributes of a node"));
  CHECK(contains(
      error_of_graph(
          weight + pb::node("X", {}, {}, pb::attribute("a", 7, pb::bytes(8, std::string(4'000'001, '\1'))))),
      "more than 4000000 numbers in attributes"));
  // 16 bytes a value from one byte each, over and over: the same budget as elsewhere, but 64 MiB always.
  const std::string zeros(9'000'000, '\0');
  CHECK_NOTHROW(read_bytes(pb::model(pb::in_graph(pb::tensor("w", {9'000'000}, 7, pb::bytes(7, zeros))))));
  std::string nested;
  for (int i = 0; i < 300; ++i) nested = pb::bytes(2, nested);
  CHECK_NOTHROW(read_bytes(
      pb::model(weight + pb::bytes(13, nested) + pb::bytes(11, pb::bytes(1, "x") + pb::bytes(2, nested)))));
}

TEST_CASE("onnx: external data lies beneath the file's folder, or is refused") {
  const TemporaryFolder outside, folder;
  write_file(outside / "secret", bytes_of<float>({1, 2}));
  write_file(folder / "data", bytes_of<float>({1, 2, 3}));
  std::filesystem::create_directory(folder / "inner");
  std::filesystem::create_symlink(outside / "secret", folder / "link");
  std::filesystem::create_symlink(outside.path(), folder / "linked");
  std::filesystem::create_symlink("..", folder / "inner/up");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("/dev/zero", folder / "zero");
  write_file(folder / "film", std::string(100, 'x'));
  std::filesystem::resize_file(folder / "film", std::uintmax_t(1) << 36);
  const auto error_in = [&](const std::string& file, const std::string& tensor) {
    write_file(folder / file, pb::model(pb::in_graph(tensor)));
    return error_of([&] { read_checkpoint(folder / file); });
  };
  const auto error = [&](const std::string& location, const std::string& offset = "",
                         const std::string& length = "") {
    const std::string message = error_in("m.onnx", pb::external("w", 2, location, offset, length));
    // File, tensor and location are named.
    CHECK(contains(message, (folder / "m.onnx").string() + ": ONNX: "));
    CHECK(contains(message, "tensor 'w': "));
    return message;
  };
  CHECK(contains(error((outside / "secret").string()), "': is an absolute path"));
  CHECK(contains(error("../" + outside.path().filename().string() + "/secret"), "secret': leads upwards"));
  CHECK(contains(error("inner/../data"), "leads upwards"));  // even where it would stay inside
  CHECK(contains(error(".."), "leads upwards"));
  CHECK(contains(error("link"),
                 "external data 'link': is '" + (outside / "secret").string() + "' in truth, outside"));
  CHECK(contains(error("linked/secret"), "in truth, outside of the .onnx file's folder"));
  CHECK(contains(error("zero"), "is '/dev/zero' in truth, outside"));
  CHECK(contains(error("."), "in truth, outside"));
  CHECK(contains(error("inner"), "is a folder"));
  CHECK(contains(error("pipe"), "is a pipe"));
  CHECK(contains(error("missing"), "external data 'missing': cannot find: No such file"));
  CHECK(contains(error("data\0.x"s), "is no file name"));
  CHECK(contains(error(""), "is external, but names no file"));
  CHECK(contains(error(std::string(5000, 'x')), "cannot find: File name too long"));
  CHECK(contains(error("film"), "has 68719476736 bytes, of which the tensors use 8"));
  CHECK(contains(error("data", "8"), "bytes 8 + 8 do not lie in the file of 12"));
  CHECK(contains(error("data", "18446744073709551615"), "do not lie in the file of 12"));
  CHECK(contains(error("data", "18446744073709551616"),
                 "its external offset is '18446744073709551616', expected a whole"));
  CHECK(contains(error("data", "-1"), "its external offset is '-1'"));
  CHECK(contains(error("data", "0x4"), "its external offset is '0x4'"));
  CHECK(contains(error("data", " 4"), "its external offset is ' 4'"));
  CHECK(contains(error("data", "0", "12"), "has 12 bytes, shape [2] of f32 needs 8"));
  CHECK(contains(error("data", "0", "4"), "has 4 bytes, shape"));
  // The folder is the file's own, not one above it.
  CHECK(contains(error_in("inner/m.onnx", pb::external("w", 2, "up/data")), "in truth, outside"));
  // A folder whose name only begins alike.
  std::filesystem::create_directory(folder / "in");
  std::filesystem::create_symlink("../inner", folder / "in/x");
  write_file(folder / "inner/data", bytes_of<float>({1, 2}));
  CHECK(contains(error_in("in/m.onnx", pb::external("w", 2, "x/data")), "in truth, outside"));

  const auto marked = [&](const std::string& more) {
    return error_in("m.onnx", pb::tensor("w", {1}, 1, more));
  };
  const std::string location = pb::bytes(13, pb::bytes(1, "location") + pb::bytes(2, "data"));
  CHECK(contains(marked(location + pb::number(14, 1) + pb::bytes(9, "1234")),
                 "is external, but has raw_data too"));
  CHECK(contains(marked(location + pb::bytes(9, "1234")), "names a file, but is not marked as external"));
  CHECK(contains(marked(location + pb::number(14, 2)), "its data location is 2"));
  CHECK(contains(error_in("m.onnx", pb::external("w", huge, "data")), "is not possible"));
  CHECK(contains(error_in("m.onnx", pb::external("w", huge / 4, "data")), "do not lie in the file"));
  write_file(
      folder / "m.onnx",
      pb::model(weight + pb::node("Constant", {}, {"c"},
                                  pb::attribute("value", 4, pb::bytes(5, pb::external("x", 1, "data"))))));
  CHECK(contains(error_of([&] { read_checkpoint(folder / "m.onnx"); }),
                 "attribute 'value' is an external tensor"));
}

}  // namespace retrace::weights::test
