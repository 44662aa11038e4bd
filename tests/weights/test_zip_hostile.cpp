// Zip archives that contradict themselves.
#include <doctest/doctest.h>

#include <cstring>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

using namespace std::string_literals;

const std::string four = bytes_of<float>({1, 2, 3, 4});

std::vector<ZipEntry> good() {
  return {{"a/data.pkl", pk::pickle(pk::dict({{"w", pk::floats("0", 4)}}))}, {"a/data/0", four}};
}

// The good archive with a number written over what stands `at` bytes into the nth occurrence of `magic`.
template <class T>
std::string changed(const std::string& magic, std::size_t nth, std::size_t at, T value) {
  std::string bytes = zip(good());
  std::size_t found = bytes.find(magic);
  while (nth-- > 0) found = bytes.find(magic, found + 1);
  REQUIRE(found != std::string::npos);
  std::memcpy(bytes.data() + found + at, &value, sizeof(T));
  return bytes;
}

const std::string local = "PK\x03\x04", central = "PK\x01\x02", end = "PK\x05\x06";

}  // namespace

TEST_CASE("zip: the archive the others are made from is read") {
  CHECK(raw(read_bytes(zip(good())), "w", DType::f32, {4}) == four);
}

TEST_CASE("zip: compressed and encrypted records are refused, where they are needed") {
  auto entries = good();
  entries[1].method = 8;
  CHECK(contains(error_of_bytes(zip(entries)), "'a/data/0': is compressed (method 8)"));
  entries = good();
  entries[0].method = 8;
  CHECK(contains(error_of_bytes(zip(entries)), "'a/data.pkl': is compressed"));
  entries = good();
  entries[1].flags = 1;
  CHECK(contains(error_of_bytes(zip(entries)), "is encrypted"));
  entries = good();
  entries.push_back({"a/code.txt", "x", 8});
  CHECK_NOTHROW(read_bytes(zip(entries)));
}

TEST_CASE("zip: a central directory that lies") {
  // Field offsets as in APPNOTE 4.3.12 (central), 4.3.7 (local), 4.3.16 (end).
  const std::uint32_t far = 1u << 30;
  CHECK(contains(error_of_bytes(changed(central, 1, 42, far)),
                 "'a/data/0' has no local header at byte 1073741824"));
  CHECK(contains(error_of_bytes(changed(central, 1, 42, 1u)), "has no local header at byte 1"));
  CHECK(contains(error_of_bytes(changed(central, 1, 42, 0u)), "differs between its local header"));
  CHECK(contains(error_of_bytes(changed(central, 1, 20, far)), "does not lie before the central directory"));
  CHECK(contains(error_of_bytes(changed(central, 1, 24, 15u)), "takes 16 bytes but says it holds 15"));
  CHECK(contains(error_of_bytes(changed(central, 1, 20, 0xffffffffu)), "its zip64 sizes are missing"));
  CHECK(contains(error_of_bytes(changed(central, 1, 28, std::uint16_t(60000))), "is cut short"));
  CHECK(contains(error_of_bytes(changed(central, 1, 10, std::uint16_t(8))),
                 "differs between its local header"));
  CHECK(contains(error_of_bytes(changed(central, 1, 46, 'b')), "differs between its local header"));
  CHECK(contains(error_of_bytes(changed(central, 1, 0, 'X')), "no central record"));
  CHECK(contains(error_of_bytes(changed(local, 1, 28, std::uint16_t(60000))), "does not lie before"));
  // The first record grown over the second.
  const auto size = std::uint32_t(zip(good()).find("PK\x03\x04", 4));
  std::string overlapping = changed(central, 0, 20, size);
  std::memcpy(overlapping.data() + overlapping.find(central) + 24, &size, 4);
  CHECK(contains(error_of_bytes(overlapping), "records 'a/data.pkl' and 'a/data/0' overlap"));
}

TEST_CASE("zip: an end record that lies") {
  CHECK(contains(error_of_bytes(changed(end, 0, 4, std::uint16_t(1))), "spans several disks"));
  CHECK(contains(error_of_bytes(changed(end, 0, 8, std::uint16_t(1))), "spans several disks"));
  CHECK(contains(error_of_bytes(changed(end, 0, 8, 0x00030003u)), "no central record"));
  CHECK(contains(error_of_bytes(changed(end, 0, 8, 0x00010001u)), "holds records for"));
  CHECK(contains(error_of_bytes(changed(end, 0, 12, 1u << 20)), "does not lie before its end record"));
  CHECK(contains(error_of_bytes(changed(end, 0, 16, 1u << 20)), "does not lie before its end record"));
  CHECK(contains(error_of_bytes(changed(end, 0, 16, 1u)), "no central record at byte 1"));
  CHECK(contains(error_of_bytes(changed(end, 0, 20, std::uint16_t(1))), "has no end record"));
  CHECK(contains(error_of_bytes("PK\x03\x04"s), "shorter than its smallest possible end"));
  CHECK(contains(error_of_bytes("PK\x03\x04"s + std::string(100000, 'x')), "has no end record"));
}

TEST_CASE("zip: zip64 structures that lie") {
  auto entries = good();
  entries[1].zip64 = true;
  const std::string bytes = zip(entries);
  CHECK_NOTHROW(read_bytes(bytes));
  const std::size_t extra = bytes.find(little(std::uint16_t(1)) + little(std::uint16_t(24)));
  REQUIRE(extra != std::string::npos);
  const auto with = [&](std::size_t at, const std::string& value) {
    std::string copy = bytes;
    return copy.replace(extra + at, value.size(), value);
  };
  CHECK(contains(error_of_bytes(with(2, little(std::uint16_t(16)))), "zip64 sizes are cut short"));
  CHECK(contains(error_of_bytes(with(2, little(std::uint16_t(25)))), "zip64 sizes are missing"));
  CHECK(contains(error_of_bytes(with(0, little(std::uint16_t(2)))), "zip64 sizes are missing"));
  CHECK(contains(error_of_bytes(with(4, little(~std::uint64_t(0)))), "says it holds 18446744073709551615"));
  CHECK(contains(error_of_bytes(with(12, little(~std::uint64_t(0)))), "does not lie before"));
  CHECK(contains(error_of_bytes(with(20, little(~std::uint64_t(0)))), "has no local header"));

  // PyTorch's own files have a zip64 end record: its locator pointed elsewhere.
  std::string torch = read_file(fixture("module.zip.pt"));
  const std::size_t locator = torch.find("PK\x06\x07");
  REQUIRE(locator != std::string::npos);
  for (const std::uint64_t where : {std::uint64_t(0), std::uint64_t(locator), ~std::uint64_t(0)}) {
    torch.replace(locator + 8, 8, little(where));
    CHECK(contains(error_of_bytes(torch), "zip64 end record is not where the locator says"));
  }
}

TEST_CASE("zip: archives that are no checkpoint") {
  CHECK(contains(error_of_bytes(zip({{"x.npy", "1"}, {"y.txt", "2"}})),
                 "is a zip archive of 'x.npy', 'y.txt', but no PyTorch checkpoint"));
  auto entries = good();
  entries.push_back({"b/data.pkl", ""});
  CHECK(contains(error_of_bytes(zip(entries)), "has both 'a/data.pkl' and 'b/data.pkl'"));
  entries = good();
  entries.push_back(entries[1]);
  CHECK(contains(error_of_bytes(zip(entries)), "two records are named 'a/data/0'"));
}

}  // namespace retrace::weights::test
