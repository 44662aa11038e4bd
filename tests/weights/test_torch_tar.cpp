// The oldest container of PyTorch, made by hand, right and wrong; test_torch.cpp has one that PyTorch reads too.
#include <doctest/doctest.h>

#include <cstdio>
#include <map>

#include "build_files.h"

namespace retrace::weights::test {
namespace {

std::string entry(const std::string& name, const std::string& bytes, char type = '0') {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  char size[13];
  std::snprintf(size, sizeof(size), "%011o", unsigned(bytes.size()));
  header.replace(124, 11, size, 11);
  header.replace(148, 8, "        ");
  header[156] = type;
  header.replace(257, 5, "ustar");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(size, sizeof(size), "%06o", sum);
  header.replace(148, 7, size, 7);
  return header + bytes + std::string((512 - bytes.size() % 512) % 512, '\0');
}

std::string numbers(const std::vector<std::int64_t>& values) {
  return bytes_of(values);
}

// The parts of a checkpoint of one tensor [2] in a storage of four floats, each to be replaced.
struct Parts {
  std::string sys_info = pk::pickle(
      pk::dict({{"protocol_version", pk::integer(1000)}, {"little_endian", "\x88"}, {"type_sizes", "}"}}));
  std::string storage_count = pk::pickle(pk::integer(1));
  std::string storage =
      pk::pickle(pk::tuple({pk::integer(7), pk::text("cpu"), pk::global("torch", "FloatStorage")}));
  std::string storage_body = numbers({4}) + bytes_of<float>({1, 2, 3, 4});
  std::string views = pk::pickle("]");
  std::string tensor_count = pk::pickle(pk::integer(1));
  std::string tensor =
      pk::pickle(pk::tuple({pk::integer(9), pk::integer(7), pk::global("torch", "FloatTensor")}));
  std::string tensor_body = numbers({1, 2, 1, 2});  // one dimension, of 2, stride 1, from element 2
  std::string object = pk::pickle(pk::dict({{"w", pk::text("9") + "Q"}}));

  std::string tar() const {
    return entry("sys_info", sys_info) + entry("pickle", object) +
           entry("tensors", tensor_count + tensor + tensor_body) +
           entry("storages", storage_count + storage + storage_body + views) + std::string(1024, '\0');
  }
  std::string error() const { return error_of_bytes(tar()); }
};

// The error of a checkpoint with one part replaced.
std::string with(std::string Parts::*part, const std::string& bytes) {
  Parts parts;
  parts.*part = bytes;
  return parts.error();
}

}  // namespace

TEST_CASE("torch tar: a tensor, through a view too") {
  Parts parts;
  Checkpoint c = read_bytes(parts.tar());
  CHECK(c.format == "pytorch tar");
  CHECK(c.container.at("protocol") == "1000");
  CHECK(raw(c, "w", DType::f32, {2}) == bytes_of<float>({3, 4}));
  parts.views =
      pk::pickle("](" + pk::tuple({pk::integer(8), pk::integer(7), pk::integer(1), pk::integer(3)}) + "e");
  parts.tensor =
      pk::pickle(pk::tuple({pk::integer(9), pk::integer(8), pk::global("torch.cuda", "FloatTensor")}));
  parts.tensor_body = numbers({1, 2, 1, 0});
  parts.object = pk::pickle(pk::dict({{"state_dict", pk::dict({{"module.w", pk::integer(9) + "Q"}})}}));
  c = read_bytes(parts.tar());
  CHECK(raw(c, "w", DType::f32, {2}) == bytes_of<float>({2, 3}));
  CHECK(c.notes.size() == 2);
}

TEST_CASE("torch tar: what describes the storages") {
  CHECK(
      contains(with(&Parts::storage_count, pk::pickle(pk::integer(-1))), "a number of entries is expected"));
  CHECK(contains(with(&Parts::storage_count, pk::pickle("N")), "a None where a number of entries"));
  CHECK(contains(with(&Parts::storage, pk::pickle(pk::tuple({pk::integer(7)}))),
                 "a tuple of 1 items, expected 3"));
  CHECK(contains(
      with(&Parts::storage, pk::pickle(pk::tuple({pk::integer(7), "N", pk::global("torch", "FloatTensor")}))),
      "a storage is a 'FloatTensor'"));
  CHECK(contains(
      with(&Parts::storage, pk::pickle(pk::tuple({pk::integer(7), "N", pk::global("os", "system")}))),
      "refers to 'os.system'"));
  CHECK(contains(with(&Parts::storage_body, numbers({1000})), "needs 4000 bytes, but"));
  CHECK(contains(with(&Parts::storage_body, numbers({-1})), "storage 7 has -1 elements"));
  CHECK(contains(with(&Parts::storage_body, numbers({std::int64_t(1) << 62})),
                 "storage 7 has 4611686018427387904"));
  CHECK(contains(with(&Parts::views, pk::pickle("]") + "x"), "1 bytes are left"));
  CHECK(contains(with(&Parts::views, pk::pickle("N")), "the views are not a list"));
  const auto view = [](std::int64_t key, std::int64_t root, std::int64_t begin, std::int64_t count) {
    return pk::pickle(
        "](" + pk::tuple({pk::integer(key), pk::integer(root), pk::integer(begin), pk::integer(count)}) +
        "e");
  };
  CHECK(contains(with(&Parts::views, view(8, 6, 0, 1)), "a view of storage 6, which is not there"));
  CHECK(contains(with(&Parts::views, view(7, 7, 0, 1)), "two storages have the key 7"));
  Parts parts;
  parts.tensor = pk::pickle(pk::tuple({pk::integer(9), pk::integer(8), pk::global("torch", "FloatTensor")}));
  for (const auto& [begin, count] :
       std::map<std::int64_t, std::int64_t>{{-1, 2}, {2, 3}, {5, 0}, {1, INT64_MAX}}) {
    parts.views = view(8, 7, begin, count);
    CHECK(contains(parts.error(), "tensor 'w': views elements"));
  }
}

TEST_CASE("torch tar: what describes the tensors") {
  const auto tensor = [](std::int64_t storage, const std::string& type) {
    return pk::pickle(pk::tuple({pk::integer(9), pk::integer(storage), pk::global("torch", type)}));
  };
  CHECK(contains(with(&Parts::tensor, tensor(6, "FloatTensor")),
                 "tensor 9 is in storage 6, which is not there"));
  CHECK(contains(with(&Parts::tensor, tensor(7, "LongTensor")),
                 "a 'LongTensor', which does not fit its storage"));
  CHECK(contains(with(&Parts::tensor, tensor(7, "FloatStorage")), "a 'FloatStorage', which does not fit"));
  CHECK(contains(with(&Parts::tensor_body, numbers({65})), "tensor 9 has 65 dimensions"));
  CHECK(contains(with(&Parts::tensor_body, numbers({4, 2, 1, 2})), "needs 8 bytes, but 0 are left"));
  CHECK(contains(with(&Parts::tensor_body, numbers({1, 2, 1, 2, 0})), "8 bytes are left"));
  CHECK(contains(with(&Parts::tensor_body, numbers({1, 2, 1, 3})),
                 "does not lie in its storage of 4 elements"));
  CHECK(contains(with(&Parts::tensor_body, numbers({1, 2, -1, 2})), "are negative"));
  CHECK(contains(with(&Parts::tensor_body, numbers({1, -2, 1, 2})), "is not possible"));
  Parts parts;
  parts.tensor_count = pk::pickle(pk::integer(2));
  parts.tensor_body += parts.tensor + parts.tensor_body;
  CHECK(contains(parts.error(), "two tensors have the key 9"));
}

TEST_CASE("torch tar: the object and the system") {
  CHECK(contains(with(&Parts::object, pk::pickle(pk::text("10") + "Q")), "persistent id 10 is no tensor"));
  CHECK(
      contains(with(&Parts::object, pk::pickle(pk::text("9x") + "Q")), "persistent id '9x' is not a number"));
  CHECK(contains(with(&Parts::object, pk::pickle("NQ")), "a persistent id is not a number"));
  CHECK(contains(with(&Parts::object, pk::pickle(pk::tuple({"N", "N", "N"}) + "Q")),
                 "a whole module was pickled"));
  CHECK(contains(
      with(&Parts::object, pk::pickle(pk::call(pk::global("torch", "FloatTensor"), {pk::integer(3)}))),
      "'FloatTensor' is called"));
  CHECK(contains(with(&Parts::sys_info, pk::pickle(pk::dict({{"little_endian", "\x89"}}))),
                 "big-endian machine"));
  CHECK(contains(with(&Parts::sys_info, pk::pickle(pk::dict({{"protocol_version", pk::integer(1001)}}))),
                 "protocol_version is not 1000"));
  CHECK(contains(with(&Parts::sys_info, pk::pickle("N")), "is not a dict"));
}

TEST_CASE("tar: archives that are damaged or hold something else") {
  CHECK(contains(error_of_bytes(entry("picture.png", "x")),
                 "is a tar archive, but no PyTorch checkpoint: it has no"));
  CHECK(
      contains(error_of_bytes(entry("folder/", "", '5') + entry("a", "x")), "'folder/' is no regular file"));
  CHECK(contains(error_of_bytes(entry("a", "x") + entry("a", "x")), "two entries are named 'a'"));
  std::string bytes = entry("a", "x");
  bytes[0] = 'b';
  CHECK(
      contains(error_of_bytes(bytes), "tar archive, byte 0: an entry's header does not match its checksum"));
  CHECK(contains(error_of_bytes(entry("a", std::string(600, 'x')).substr(0, 1000)),
                 "'a' of 600 bytes is cut short"));
  // The size of the entry after a pax header may stand in it.
  const Parts parts;
  const std::string good = parts.tar();
  CHECK_NOTHROW(read_bytes(entry("pax", "13 mtime=0.5\n", 'x') + good));
  CHECK(contains(error_of_bytes(entry("pax", "20 size=99999999999\n", 'x') + good),
                 "of 99999999999 bytes is cut short"));
  CHECK(contains(error_of_bytes(entry("pax", "9 path=a\n", 'x') + good), "has a long name"));
  CHECK(contains(error_of_bytes(entry("pax", "9 size=x\n", 'x') + good), "size is not a number"));
  for (const char* record : {"99 a=b\n", "6 a=bc\n", "x a=b\n", "0 a=b\n", "2 a=b\n"}) {
    CHECK(contains(error_of_bytes(entry("pax", record, 'x') + good), "a pax record is damaged"));
  }
}

}  // namespace retrace::weights::test
