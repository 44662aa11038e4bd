// Files that are two formats at once, or hide one in another: the first bytes decide, and nothing falls back.
#include <doctest/doctest.h>

#include <cstring>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

using namespace std::string_literals;

const std::string four = bytes_of<float>({1, 2, 3, 4}), other = bytes_of<float>({5, 6, 7, 8});

std::string archive(const std::string& values, const std::string& comment = "") {
  return zip({{"a/data.pkl", pk::pickle(pk::dict({{"w", pk::floats("0", 4)}}))}, {"a/data/0", values}},
             comment);
}
std::string legacy(const std::string& values) {
  return torch_legacy(pk::dict({{"w", pk::floats("0", 4)}}), {{"0", 4, values}});
}
std::string plain(const std::string& values) {
  return safetensors(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", values);
}
std::string values_of(const std::string& bytes) {
  return raw(read_bytes(bytes), "w", DType::f32, {4});
}

}  // namespace

TEST_CASE("polyglots: a zip at the end of another file is not looked for") {
  // Python's zipfile and PyTorch's own reader look from the end.
  const Checkpoint c = read_bytes(legacy(four) + archive(other));
  CHECK(c.format == "pytorch legacy");
  CHECK(raw(c, "w", DType::f32, {4}) == four);
  REQUIRE(c.notes.size() == 1);
  CHECK(contains(c.notes[0], "bytes after the last storage left out"));
  CHECK(
      contains(error_of_bytes(plain(four) + archive(other)), "safetensors: the tensors end at byte 16 of "));
  CHECK(contains(error_of_bytes("#!/bin/sh\nexit\n" + archive(four)), "data of unknown format"));
  CHECK(contains(error_of_bytes("GIF89a" + archive(four)), "data of unknown format"));
}

TEST_CASE("polyglots: bytes before the first local header") {
  // A whole file before the archive, whose offsets count from the archive's own begin, or from the file's.
  const std::string bytes = archive(four);
  CHECK(contains(error_of_bytes("PK\x03\x04" + std::string(60, 'x') + bytes), "no central record at byte"));
  std::string moved = "PK\x03\x04" + std::string(60, 'x') + bytes;
  const auto shift = [&](std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, moved.data() + at, 4);
    moved.replace(at, 4, little(value + 64));
  };
  for (std::size_t at = moved.find("PK\x01\x02"); at != std::string::npos;
       at = moved.find("PK\x01\x02", at + 1))
    shift(at + 42);
  shift(moved.find("PK\x05\x06") + 16);
  CHECK(values_of(moved) ==
        four);  // a gap is no contradiction: only the central directory says where records are
}

TEST_CASE("polyglots: tar and zip in one file") {
  // A zip whose 257th byte begins tar's magic, in a record nobody needs: a zip.
  const std::string pickle = pk::pickle(pk::dict({{"w", pk::floats("0", 4)}}));
  std::string filler(400, 'x');
  const std::size_t before = std::string("PK\x03\x04").size() + 26 + 1;  // local header and the name "x"
  filler.replace(257 - before, 8, "ustar\00000"s);
  const std::string both = zip({{"x", filler}, {"a/data.pkl", pickle}, {"a/data/0", four}});
  REQUIRE(both.substr(257, 5) == "ustar");
  CHECK(values_of(both) == four);
  // The same bytes with a damaged zip magic are taken for a tar, and are none.
  CHECK(contains(error_of_bytes("XK" + both.substr(2)),
                 "tar archive, byte 0: an entry's checksum is not octal"));
}

TEST_CASE("polyglots: an end record in the comment") {
  // As PyTorch and Python do, the end record nearest to the end counts, if its comment reaches the end exactly.
  const std::string inner = archive(other);
  std::string inner_end = inner.substr(inner.find("PK\x05\x06"));
  inner_end.replace(16, 4, little(std::uint32_t(inner.find("PK\x01\x02") + 1)));
  const std::string message = error_of_bytes(archive(four, inner_end));
  CHECK(contains(message, "no central record at byte"));
  // One that does not reach the end is only text.
  CHECK(values_of(archive(four, inner_end + "!")) == four);
  CHECK(values_of(archive(four, "PK\x05\x06")) == four);
  CHECK(values_of(archive(four, std::string(0xffff, 'c'))) == four);
  CHECK(contains(error_of_bytes(archive(four) + "x"), "has no end record"));
  CHECK(contains(error_of_bytes(archive(four) + std::string(0x20000, '\0')), "has no end record"));
}

TEST_CASE("polyglots: zip64 records where none belong") {
  // A locator before the end record, for a zip64 record that tells another story.
  const std::string bytes = archive(four);
  const std::size_t end = bytes.find("PK\x05\x06");
  const auto with = [&](std::uint64_t entries, std::uint64_t size, std::uint64_t begin, std::uint64_t where) {
    const std::string record = "PK\x06\x06" + little(std::uint64_t(44)) + little(std::uint32_t(0x2d002d)) +
                               little(std::uint64_t(0)) + little(entries) + little(entries) + little(size) +
                               little(begin);
    const std::string locator =
        "PK\x06\x07" + little(std::uint32_t(0)) + little(where) + little(std::uint32_t(1));
    return bytes.substr(0, end) + record + locator + bytes.substr(end);
  };
  const std::uint64_t begin = bytes.find("PK\x01\x02"), size = end - begin;
  CHECK(values_of(with(2, size, begin, end)) == four);
  constexpr auto huge = ~std::uint64_t(0);
  CHECK(contains(error_of_bytes(with(2, size, begin, huge)), "not where the locator says"));
  CHECK(contains(error_of_bytes(with(2, size, begin, begin)), "not where the locator says"));
  CHECK(contains(error_of_bytes(with(1, size, begin, end)), "holds records for"));
  CHECK(contains(error_of_bytes(with(huge, size, begin, end)), "no central record"));
  CHECK(contains(error_of_bytes(with(2, huge, begin, end)), "does not lie before its end record"));
  CHECK(contains(error_of_bytes(with(2, size, huge, end)), "does not lie before its end record"));
  CHECK(contains(error_of_bytes(with(2, huge, huge, end)), "does not lie before its end record"));
}

TEST_CASE("polyglots: safetensors in a pickle's clothes") {
  // A header's length whose bytes are the magic of a zip or a pickle.
  CHECK(contains(error_of_bytes("PK\x03\x04\0\0\0\0{}"s), "shorter than its smallest possible end"));
  CHECK(contains(error_of_bytes("\x80\x02\x8a\x0a\0\0\0\0{}"s), "header length 176816768 "));
  CHECK(contains(error_of_bytes(std::string("\x80\x02}q\x01.\0\0{}", 10)), "header length"));
}

}  // namespace retrace::weights::test
