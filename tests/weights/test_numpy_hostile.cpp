// NumPy files that lie, are damaged, or would need Python to be understood.
#include <doctest/doctest.h>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

const std::string body = bytes_of<float>({1, 2});
const std::string good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", body);

std::string error_of_header(const std::string& header, const std::string& bytes = body) {
  return error_of_bytes(npy(header, bytes));
}
std::string error_of_type(const std::string& descr) {
  return error_of_header("{'descr': " + descr + ", 'fortran_order': False, 'shape': (2,)}");
}
std::string error_of_shape(const std::string& shape) {
  return error_of_header("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + "}");
}

}  // namespace

TEST_CASE("npy: element types that are not read are named, and nothing is unpickled") {
  CHECK(contains(error_of_type("'|O'"), "element type '|O' is not read (Python objects, which are pickled"));
  CHECK(contains(error_of_type("'O'"), "element type 'O' is not read (Python objects"));
  CHECK(contains(error_of_type("[('a', '<f4'), ('b', '<i8')]"), "the elements are structured"));
  CHECK(contains(error_of_type("('<f4', (2,))"), "the elements are structured"));
  CHECK(contains(error_of_type("'|V2'"), "'|V2' is not read (raw bytes (the way bf16"));
  CHECK(contains(error_of_type("'<c8'"), "'<c8' is not read (complex numbers)"));
  CHECK(contains(error_of_type("'<f16'"), "'<f16' is not read (floats of another size)"));
  CHECK(contains(error_of_type("'<U8'"), "(text)"));
  CHECK(contains(error_of_type("'|S8'"), "(text)"));
  CHECK(contains(error_of_type("'<M8[ns]'"), "(dates or durations)"));
  CHECK(contains(error_of_type("'f4'"), "(it has no byte order)"));
  CHECK(contains(error_of_type("'<i3'"), "(of no known kind)"));
  CHECK(contains(error_of_type("''"), "element type '' is not read"));
  CHECK(contains(error_of_type("'<'"), "element type '<' is not read"));
}

TEST_CASE("npy: the header is that literal and nothing else") {
  const std::string fields = "'descr': '<f4', 'fortran_order': False, 'shape': (2,)";
  CHECK(contains(error_of_header(""), "npy header, at character 0: ends where '{' is expected"));
  CHECK(contains(error_of_header("__import__('os')"), "found '_', expected '{'"));
  CHECK(contains(error_of_header("{" + fields), "ends where '}' is expected"));
  CHECK(contains(error_of_header("{" + fields + "} x"), "something follows the dict"));
  CHECK(contains(error_of_header("{" + fields + "}" + std::string(1, '\0')), "something follows the dict"));
  CHECK(contains(error_of_header("{" + fields + ",,}"), "found ',', expected a string"));
  CHECK(contains(error_of_header("{" + fields + ", 'descr': '<f4'}"), "key 'descr' stands twice"));
  CHECK(contains(error_of_header("{" + fields + ", 'more': 1}"), "unknown key 'more'"));
  CHECK(contains(error_of_header("{'descr': '<f4', 'fortran_order': False}"), "has no 'shape'"));
  CHECK(contains(error_of_header("{}"), "has no 'descr'"));
  CHECK(contains(error_of_header("{'descr' '<f4'}"), "expected ':'"));
  CHECK(contains(error_of_header("{'descr': '<f4"), "a string has no end"));
  CHECK(contains(error_of_header("{'descr': '\\x3cf4'}"), "a string has no end, or an escape in it"));
  CHECK(contains(error_of_header("{'descr': '<f4', 'fortran_order': 0}"), "expected True or False"));
  CHECK(contains(error_of_header("{'descr': 4}"), "found '4', expected a string"));
  CHECK(contains(error_of_header("{" + std::string(60000, '{')), "expected a string"));
}

TEST_CASE("npy: shapes") {
  CHECK(contains(error_of_shape("2"), "found '2', expected '('"));
  CHECK(contains(error_of_shape("(2)"), "a number in brackets"));
  CHECK(contains(error_of_shape("[2]"), "expected '('"));
  CHECK(contains(error_of_shape("(-2,)"), "not a whole number from 0"));
  CHECK(contains(error_of_shape("(2.0,)"), "expected ','"));
  CHECK(contains(error_of_shape("(2 2)"), "found '2', expected ','"));
  CHECK(contains(error_of_shape("(,)"), "not a whole number"));
  CHECK(contains(error_of_shape("(2,"), "not a whole number"));
  CHECK(contains(error_of_shape("(9223372036854775808,)"), "size '9223372036854775808' is too large"));
  CHECK(contains(error_of_shape("(4294967296, 4294967296)"), "is not possible"));
  CHECK(contains(error_of_shape("(4611686018427387904,)"), "is not possible"));
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1,";
  CHECK(contains(error_of_shape(many + ")"), "more than 64 dimensions"));
  CHECK(contains(error_of_shape("(3,)"), "file: 8 bytes follow the npy header, shape [3] of f32 needs 12"));
  CHECK(contains(error_of_shape("(1,)"), "8 bytes follow the npy header, shape [1] of f32 needs 4"));
  CHECK(contains(error_of_shape("(1000000000000,)"), "needs 4000000000000"));
}

TEST_CASE("npy: magic, version and length") {
  const auto with = [](std::size_t at, const std::string& bytes) {
    std::string copy = good;
    return error_of_bytes(copy.replace(at, bytes.size(), bytes));
  };
  CHECK(contains(error_of_bytes("\x93NUMPY"), "does not begin like a NumPy array"));
  CHECK(contains(error_of_bytes("\x93NUMPY\x01" + std::string(1, '\0')), "npy header is cut short"));
  CHECK(contains(with(6, "\x04"), "npy version 4.0; 1.0, 2.0 and 3.0 are read"));
  CHECK(contains(with(7, "\x01"), "npy version 1.1"));
  CHECK(contains(with(8, "\xff\xff"), "npy header of 65545 bytes is cut short at 73"));
  CHECK(contains(with(6, "\x02"), "at most 65535 are read"));
}

TEST_CASE("npz: what the archive, the header and the bytes say must agree") {
  const std::string zeros =
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000,)}", std::string(40000, '\0'));
  const auto error = [](const ZipEntry& entry) { return error_of_bytes(zip({entry})); };
  for (const bool deflated : {false, true}) {
    INFO(deflated);
    CHECK(read_bytes(zip({numpy_entry("a.npy", good, deflated)})).tensors.size() == 1);
    ZipEntry entry = numpy_entry("a.npy", good, deflated);
    entry.checksum = *entry.checksum + 1;
    CHECK(contains(error(entry), "record 'a.npy': its bytes have checksum"));
    entry = numpy_entry("a.npy", good, deflated);
    entry.flags = 1;
    CHECK(contains(error(entry), "record 'a.npy': is encrypted"));
    CHECK(contains(error(numpy_entry(".npy", good, deflated)), "the array has no name"));
    CHECK(
        contains(error(numpy_entry("a.npy", "not an array", deflated)), "does not begin like a NumPy array"));
    CHECK(contains(error(numpy_entry("a.npy", "", deflated)), "does not begin like a NumPy array"));
    CHECK(contains(error(numpy_entry("a.npy", good.substr(0, 40), deflated)), "is cut short at 40"));
  }
  ZipEntry entry = numpy_entry("a.npy", zeros, true);
  entry.method = 12;
  CHECK(contains(error(entry), "is compressed by method 12; stored (0) and deflated (8) are read"));

  entry = numpy_entry("a.npy", zeros, true);
  entry.plain = 1000;
  CHECK(contains(error(entry), "the archive says it unfolds to 1000 bytes, its npy header to 40"));
  // More, fewer and other bytes than header and directory agree on.
  entry = numpy_entry("a.npy", zeros + "x", true);
  entry.plain = std::uint32_t(zeros.size());
  CHECK(contains(error(entry), "its deflated data hold more bytes, 40069 are announced"));
  entry = numpy_entry("a.npy", zeros.substr(0, 30000), true);
  entry.plain = std::uint32_t(zeros.size());
  CHECK(contains(error(entry), "its deflated data hold 30000 bytes, 40069 are announced"));
  entry = numpy_entry("a.npy", zeros, true);
  entry.bytes += "left";
  CHECK(contains(error(entry), "4 bytes are left after its deflated data"));
  entry = numpy_entry("a.npy", zeros, true);
  entry.bytes.resize(entry.bytes.size() - 4);
  CHECK(contains(error(entry), "its deflated data are cut short"));
  entry = numpy_entry("a.npy", good, true);
  entry.bytes[0] = '\x07';  // a block of a kind that does not exist
  CHECK(contains(error(entry), "its deflated data are damaged"));
}

TEST_CASE("npz: a bomb is refused before memory is asked for") {
  // 100 MB of zeros in 100 KB, and headers that promise more than is there to unfold.
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (25000000,)}";
  const std::string bomb = zip({numpy_entry("a.npy", npy(header, std::string(100'000'000, '\0')), true)});
  CHECK(bomb.size() < 200'000);
  CHECK(contains(error_of_bytes(bomb), "over the limit of 50331648 for all of a file of"));
  // Many small ones together.
  std::vector<ZipEntry> entries;
  ZipEntry one = numpy_entry(
      "0.npy",
      npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000,)}", std::string(1'000'000, '\0')),
      true);
  for (int i = 0; i < 70; ++i) {
    one.name = std::to_string(i) + ".npy";
    entries.push_back(one);
  }
  CHECK(contains(error_of_bytes(zip(entries)), "over the limit of 50331648"));
  entries.resize(45);
  CHECK(read_bytes(zip(entries)).tensors.size() == 45);
}

}  // namespace retrace::weights::test
