// Files: .npy and PNG.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "attribution/render/npy.h"
#include "attribution/render/png.h"
#include "kernels/error.h"

namespace retrace::render {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "retrace-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path operator/(const std::string& name) const { return path / name; }
  std::size_t entries() const {
    return std::size_t(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }

  fs::path path;
};

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

TEST_CASE(".npy files, byte by byte") {
  const Folder folder;
  const std::vector<float> values{1, -2, 0.5f, 0, 3, 4};
  const std::int64_t shape[] = {2, 3};
  write_npy(folder / "a.npy", shape, values);
  const std::string file = content(folder / "a.npy");
  // numpy.save writes these bytes too.
  const std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  REQUIRE(file.size() == 128 + 24);
  CHECK(file.substr(0, 10) == std::string("\x93NUMPY\x01\0v\0", 10));
  CHECK(file.substr(10, text.size()) == text);
  CHECK(file[127] == '\n');
  CHECK(std::memcmp(file.data() + 128, values.data(), 24) == 0);
  CHECK(folder.entries() == 1);
}

TEST_CASE(".npy files come back, whatever their shape") {
  const Folder folder;
  const std::vector<std::vector<std::int64_t>> shapes{
      {}, {1}, {7}, {3, 4, 5}, {0}, {2, 0, 3}, {1, 1, 1, 1, 1, 1, 2}};
  for (const auto& shape : shapes) {
    std::size_t count = 1;
    for (const std::int64_t side : shape) count *= std::size_t(side);
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = float(i) * 0.37f - 1;
    if (count > 2)
      values[1] = std::numeric_limits<float>::infinity(),
      values[2] = std::numeric_limits<float>::denorm_min();
    write_npy(folder / "a.npy", shape, values);
    const NpyArray back = read_npy(folder / "a.npy");
    CHECK(back.shape == shape);
    CHECK(back.values == values);
    CHECK(content(folder / "a.npy").size() % 64 == count * 4 % 64);
  }
}

TEST_CASE("a shape that does not hold the values is refused") {
  const Folder folder;
  const std::vector<float> values(6);
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{2, 4}, {-2, -3}, {}, {std::int64_t(1) << 62, 8}}) {
    CHECK_THROWS_AS(write_npy(folder / "a.npy", shape, values), Error);
    CHECK(folder.entries() == 0);
  }
}

TEST_CASE("damaged .npy files are refused") {
  const Folder folder;
  const std::vector<float> values(6, 1);
  const std::int64_t shape[] = {6};
  write_npy(folder / "a.npy", shape, values);
  const std::string good = content(folder / "a.npy");
  for (std::size_t length = 0; length < good.size(); ++length) {
    put(folder / "b.npy", good.substr(0, length));
    CHECK_THROWS_AS(read_npy(folder / "b.npy"), Error);
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string file = good;
    file.replace(file.find(from), from.size(), to);
    put(folder / "b.npy", file);
    return folder / "b.npy";
  };
  CHECK_NOTHROW(read_npy(replaced("(6,)", "(6,)")));
  CHECK_THROWS_WITH_AS(read_npy(replaced("<f4", "<f8")), doctest::Contains("float32"), Error);
  CHECK_THROWS_WITH_AS(read_npy(replaced("False", "True ")), doctest::Contains("C order"), Error);
  CHECK_THROWS_WITH_AS(read_npy(replaced("(6,)", "(5,)")), doctest::Contains("24 bytes"), Error);
  CHECK_THROWS_AS(read_npy(replaced("(6,)", "(-,)")), Error);
  CHECK_THROWS_AS(read_npy(replaced("(6,), }", "(9999999999999999999,), }")), Error);
  CHECK_THROWS_WITH_AS(read_npy(folder / "missing.npy"), doctest::Contains("missing.npy"), Error);
}

TEST_CASE("a PNG file has the right chunks and is written under its name only") {
  const Folder folder;
  write_png(folder / "a.png", blank(31, 7, {1, 2, 3}));
  const std::string file = content(folder / "a.png");
  REQUIRE(file.size() > 45);
  CHECK(file.substr(0, 8) == "\x89PNG\r\n\x1A\n");
  // Width, height, 8 bits, RGB.
  CHECK(file.substr(12, 14) == std::string("IHDR\0\0\0\x1F\0\0\0\x07\x08\x02", 14));
  CHECK(file.substr(file.size() - 8, 4) == "IEND");
  CHECK(folder.entries() == 1);
  CHECK_THROWS_AS(write_png(folder / "b.png", Picture{}), Error);
  CHECK_THROWS_AS(write_png(folder / "b.png", Picture{2, 2, {1, 2, 3}}), Error);
  CHECK(folder.entries() == 1);
}

}  // namespace
}  // namespace retrace::render
