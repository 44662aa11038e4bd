#include <doctest/doctest.h>

#include "build_files.h"
#include "tests/common/few_cases.h"

namespace retrace::weights::test {
namespace {

std::string error_of_header(const std::string& header, std::size_t body) {
  return error_of_bytes(safetensors(header, std::string(body, '\0')));
}

// A header of one tensor "w" with these fields.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

}  // namespace

TEST_CASE("safetensors: the header's length is checked before it is believed") {
  CHECK(contains(error_of_bytes(little(std::uint64_t(-1)) + "{}"), "over the format's limit of 100000000"));
  CHECK(contains(error_of_bytes(little(std::uint64_t(100000001)) + "{}"), "over the format's limit"));
  CHECK(contains(error_of_bytes(little(std::uint64_t(0)) + "{}"), "header does not begin with '{'"));
  CHECK(contains(error_of_bytes(little(std::uint64_t(3)) + "{}"),
                 "header length 3 exceeds the file's 10 bytes"));
}

TEST_CASE("safetensors: the header must be one well-formed object") {
  CHECK(contains(error_of_header("{", 0), "not valid JSON"));
  CHECK(contains(error_of_header("{} {}", 0), "not valid JSON"));
  CHECK(contains(error_of_header("{\"\xff\":1}", 0), "not valid JSON"));
  // As an attack would have it: objects in objects, and as many levels as 10 MB hold.
  std::string deep;
  for (int i = 0; i < 2'000'000; ++i) deep += "{\"a\":";
  CHECK(contains(error_of_header(deep, 0), "header is nested too deep"));
  CHECK(contains(error_of_header("{\"a\":" + std::string(10'000'000, '['), 0), "header is nested too deep"));
  CHECK(contains(error_of_header("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", 0),
                 "nested too deep"));
  const std::string w = R"("w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  CHECK(contains(error_of_header("{" + w + "," + w + "}", 1), "key 'w' stands twice"));
  CHECK(contains(error_of_header("{" + w + R"(,"\u0077":2})", 1), "key 'w' stands twice"));
  CHECK(contains(error_of_header(R"({"__metadata__":{},"__metadata__":{}})", 0),
                 "key '__metadata__' stands twice"));
  CHECK(contains(error_of_header("{" + w + "} x", 1), "not valid JSON"));
  CHECK(contains(error_of_header(R"({"w":1})" + std::string(1, '\0'), 0), "not valid JSON"));
  CHECK(contains(error_of_header(R"({"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
                 "key 'dtype' stands twice"));
  CHECK(contains(error_of_header(R"({"__metadata__":{"a":1}})", 0), "__metadata__ 'a' is a JSON number"));
  CHECK(contains(error_of_header(R"({"__metadata__":[]})", 0), "__metadata__ is a JSON array"));
  // Seven levels more are looked through, eight are not.
  CHECK(contains(error_of_header(R"({"w":)" + std::string(7, '[') + std::string(7, ']') + "}", 0),
                 "JSON array"));
  CHECK(
      contains(error_of_header(R"({"w":)" + std::string(8, '[') + std::string(8, ']') + "}", 0), "too deep"));
}

TEST_CASE("safetensors: many tensors take time and memory in proportion, and short text never much") {
  // With time in proportion to the square, a hundred thousand take twenty minutes.
  std::string header = "{";
  const int many = few_cases() ? 20'000 : 100'000;
  for (int i = 0; i < many; ++i) {
    header += (i ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  CHECK(read_bytes(safetensors(header + "}", "")).tensors.size() == std::size_t(many));
  std::string ones = "1";
  for (int i = 0; i < 100'000; ++i) ones += ",1";
  CHECK(contains(error_of_header(one("\"U8\"", "[" + ones + "]", "[0,1]"), 1),
                 "an array has more than 4096 elements"));
  CHECK(contains(error_of_header(one("\"U8\"", "[" + ones.substr(0, 2 * 65 - 1) + "]", "[0,1]"), 1),
                 "shape has 65 numbers, at most 64 are read"));
  std::string entries = R"({"__metadata__":{"a":"")";
  for (int i = 0; i < 200'000; ++i) entries += ",\"" + std::to_string(i) + "\":\"\"";
  CHECK(contains(error_of_header(entries + "}}", 0), "an object has more than 200000 members"));
}

TEST_CASE("safetensors: a tensor's fields must be there and of their kinds") {
  CHECK(contains(error_of_header(R"({"w":3})", 0), "tensor 'w': is a JSON number"));
  CHECK(contains(error_of_header(R"({"w":{"dtype":"U8","shape":[1]}})", 1), "has no data_offsets"));
  CHECK(contains(error_of_header(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1),
                 "unknown field 'x'"));
  CHECK(contains(error_of_header(one("1", "[1]", "[0,1]"), 1), "dtype is a JSON number"));
  for (const char* type : {"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"}) {
    const std::string message = error_of_header(one(std::string("\"") + type + "\"", "[1]", "[0,1]"), 1);
    CHECK(contains(
        message, std::string("tensor 'w': dtype '") + type + "' is not supported; F64 F32 F16 BF16 F8_E4M3"));
  }
  CHECK(
      contains(error_of_header(one("\"f32\"", "[1]", "[0,1]"), 1), "dtype 'f32' is not one of the format's"));
  CHECK(contains(error_of_header(one("\"U8\"", "1", "[0,1]"), 1), "shape is a JSON number"));
  CHECK(contains(error_of_header(one("\"U8\"", "[-1]", "[0,1]"), 1), "shape holds '-1'"));
  CHECK(contains(error_of_header(one("\"U8\"", "[1.0]", "[0,1]"), 1), "shape holds '1.0'"));
  CHECK(contains(error_of_header(one("\"U8\"", "[18446744073709551615]", "[0,1]"), 1), "which is too large"));
  for (const std::string& number :
       {std::string("1e999"), std::string("-1e999"), "1" + std::string(100'000, '0')}) {
    const std::string message = error_of_header(one("\"U8\"", "[" + number + "]", "[0,1]"), 1);
    CHECK(contains(message, "safetensors: "));
    CHECK(message.size() < 500);
  }
  CHECK(contains(error_of_header(one("\"U8\"", "[1]", "[0]"), 1), "data_offsets has 1 numbers"));
}

TEST_CASE("safetensors: offsets must lie in the file, agree with the shape and leave no hole") {
  CHECK(contains(error_of_header(one("\"U8\"", "[2]", "[0,2]"), 1), "do not lie in the 1 bytes"));
  CHECK(contains(error_of_header(one("\"U8\"", "[1]", "[1,0]"), 1), "do not lie"));
  CHECK(
      contains(error_of_header(one("\"F32\"", "[2]", "[0,4]"), 4), "span 4 bytes, shape [2] of F32 needs 8"));
  // 2^62 elements of 4 bytes are 2^64 = 0 in 64 bits.
  CHECK(contains(error_of_header(one("\"F32\"", "[4611686018427387904]", "[0,0]"), 0),
                 "more than can be counted"));
  CHECK(contains(error_of_header(one("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0),
                 "more than can be counted"));
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + second + "}}";
  };
  CHECK_NOTHROW(read_bytes(safetensors(two("[0,2]", "[2,4]"), "abcd")));
  CHECK(contains(error_of_header(two("[0,2]", "[1,3]"), 3), "end at 2 (they overlap)"));
  CHECK(contains(error_of_header(two("[0,2]", "[0,2]"), 2), "they overlap"));
  CHECK(contains(error_of_header(two("[0,2]", "[3,5]"), 5), "there is a hole"));
  CHECK(contains(error_of_header(two("[1,3]", "[3,5]"), 5), "there is a hole"));
  CHECK(contains(error_of_header(two("[0,2]", "[2,4]"), 5), "end at byte 4 of 5"));
}

}  // namespace retrace::weights::test
