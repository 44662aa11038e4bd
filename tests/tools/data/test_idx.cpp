// idx files, good and hostile, made here.
#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdlib>

#include "kernels/error.h"
#include "tests/tools/test_image_files.h"
#include "tools/data/idx.h"

namespace retrace::data {
namespace {

namespace fs = std::filesystem;

Bytes gzip(const Bytes& bytes) {
  z_stream z{};
  REQUIRE(deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes out(deflateBound(&z, uLong(bytes.size())) + 32);
  Bytes in = bytes;
  z.next_in = in.data(), z.avail_in = uInt(in.size());
  z.next_out = out.data(), z.avail_out = uInt(out.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

Bytes images(std::uint32_t count, std::uint32_t height, std::uint32_t width, std::size_t bytes) {
  Bytes out;
  for (const std::uint32_t v : {0x803u, count, height, width}) put32(out, v);
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(std::uint8_t(i * 7));
  return out;
}

Bytes labels(std::uint32_t count, const Bytes& values) {
  Bytes out;
  put32(out, 0x801), put32(out, count);
  out.insert(out.end(), values.begin(), values.end());
  return out;
}

struct Files {
  TemporaryFolder folder;
  std::string image_name = "train-images-idx3-ubyte", label_name = "train-labels-idx1-ubyte";

  void complains(const std::string& message) const {
    CHECK_THROWS_WITH_AS(Idx(folder.path()), message.c_str(), Error);
  }
  std::string of(const std::string& name) const { return (folder / name).string(); }
};

const Bytes good_images = images(3, 2, 4, 24), good_labels = labels(3, {7, 0, 9});

TEST_CASE("plain and compressed files, in any mixture") {
  for (const bool packed_images : {false, true})
    for (const bool packed_labels : {false, true}) {
      Files f;
      f.folder.put(f.image_name + (packed_images ? ".gz" : ""),
                   packed_images ? gzip(good_images) : good_images);
      f.folder.put(f.label_name + (packed_labels ? ".gz" : ""),
                   packed_labels ? gzip(good_labels) : good_labels);
      const Idx data(f.folder.path());
      REQUIRE(data.size() == 3);
      CHECK(data.labels() == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
      const Sample sample = data.sample(2);
      CHECK(sample.label == 9);
      CHECK(sample.objects.empty());
      CHECK(sample.name == f.of(f.image_name + (packed_images ? ".gz" : "")) + "[2]");
      REQUIRE(sample.picture.width == 4);
      REQUIRE(sample.picture.height == 2);
      for (int y = 0; y < 2; ++y)
        for (int x = 0; x < 4; ++x)
          for (int c = 0; c < 3; ++c)
            CHECK(int(sample.picture.pixel(x, y)[c]) == int(std::uint8_t((16 + y * 4 + x) * 7)));
      CHECK_THROWS_AS(data.sample(3), Error);
    }
}

TEST_CASE("splits, and whose labels they are") {
  const TemporaryFolder parent;
  const fs::path folder = parent / "My-Fashion,kind=MNIST";
  fs::create_directory(folder);
  const auto put = [&](const std::string& name, const Bytes& bytes) {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  };
  put("t10k-images-idx3-ubyte", good_images), put("t10k-labels-idx1-ubyte", good_labels);
  const auto data = open_dataset("idx:" + folder.string() + ",split=test");
  CHECK(data->labels()[9] == "Ankle boot");
  CHECK(data->spec() == "idx:" + folder.string() + ",split=test");
  CHECK(open_dataset(data->spec())->size() == 3);
  CHECK(Idx(folder / "", {.train = false}).labels()[0] == "T-shirt/top");
  const auto digits = open_dataset("idx:" + folder.string() + ",labels=digits,split=test");
  CHECK(digits->labels()[9] == "9");
  CHECK(open_dataset(digits->spec())->labels()[9] == "9");
  CHECK_THROWS_WITH_AS(
      Idx{folder},
      (folder.string() + ": no train-images-idx3-ubyte or train-images-idx3-ubyte.gz in this folder").c_str(),
      Error);
}

TEST_CASE("folders that are none") {
  const TemporaryFolder folder;
  folder.put("file", "x");
  CHECK_THROWS_WITH_AS(Idx(folder / "nothing"), ((folder / "nothing").string() + ": no such folder").c_str(),
                       Error);
  CHECK_THROWS_WITH_AS(Idx(folder / "file"),
                       ((folder / "file").string() + ": not a folder, expected one with idx files").c_str(),
                       Error);
}

TEST_CASE("counts that differ name both files") {
  Files f;
  f.folder.put(f.image_name, good_images);
  f.folder.put(f.label_name, labels(2, {7, 0}));
  f.complains(f.of(f.image_name) + " has 3 pictures but " + f.of(f.label_name) + " has 2 labels");
}

TEST_CASE("headers that lie, plain and compressed") {
  for (const bool packed : {false, true}) {
    const auto check = [&](const Bytes& image_bytes, const Bytes& label_bytes, bool about_images,
                           const std::string& message) {
      Files f;
      const std::string end = packed ? ".gz" : "";
      f.folder.put(f.image_name + end, packed ? gzip(image_bytes) : image_bytes);
      f.folder.put(f.label_name + end, packed ? gzip(label_bytes) : label_bytes);
      f.complains(f.of((about_images ? f.image_name : f.label_name) + end) + ": " + message);
    };
    check(good_labels, good_labels, true, "the file ends 11 bytes into its header, expected 16 bytes of it");
    Bytes swapped = good_images;
    swapped[3] = 1;
    check(swapped, good_labels, true,
          "magic number 0x00000801, expected 0x00000803: unsigned bytes of 3 dimension(s)");
    check(good_images, good_images, false,
          "magic number 0x00000803, expected 0x00000801: unsigned bytes of 1 dimension(s)");
    check(images(0, 2, 4, 0), labels(0, {}), true, "no pictures");
    check(images(3, 0, 4, 0), good_labels, true, "pictures of 4 x 0 pixels, expected 1 to 1024 a side");
    check(images(3, 2, 1025, 24), good_labels, true,
          "pictures of 1025 x 2 pixels, expected 1 to 1024 a side");
    check(images(3, 0xFFFFFFFF, 0xFFFFFFFF, 24), good_labels, true,
          "pictures of 4294967295 x 4294967295 pixels, expected 1 to 1024 a side");
    check(good_images, labels(3, {7, 10, 9}), false, "label 1 is 10, expected 0 to 9");
    // 2^32 - 1 announced, none there.
    check(images(0xFFFFFFFF, 1, 1, 0), labels(0xFFFFFFFF, {}), false,
          "the header announces 4294967295 labels, more than the 2^30 bytes that are read");
    check(images(1 << 20, 28, 28, 0), labels(1 << 20, {}), false,
          "the header announces 1048576 labels, more than the file can hold");
    check(images(3, 1000, 1000, 0), good_labels, true,
          "the header announces 3 pictures of 1000 x 1000, more than the file can hold");
    const std::string trailing =
        packed ? "more data than its header announces" : "1 bytes more than its header announces";
    check(images(3, 2, 4, 25), good_labels, true, trailing);
    check(good_images, labels(3, {7, 0, 9, 1}), false, trailing);
  }
  Files f;  // a plain file's size is known; a compressed one's contents must be found to end
  f.folder.put(f.image_name + ".gz", gzip(images(3, 2, 4, 23)));
  f.folder.put(f.label_name, good_labels);
  f.complains(f.of(f.image_name + ".gz") +
              ": the file ends 23 bytes into 3 pictures of 4 x 2, expected 24 bytes of it");
}

TEST_CASE("every way to cut a file short is noticed") {
  for (const bool packed : {false, true}) {
    const Bytes whole = packed ? gzip(good_images) : good_images;
    for (std::size_t n = 0; n < whole.size(); ++n) {
      Files f;
      f.folder.put(f.image_name, Bytes(whole.begin(), whole.begin() + std::ptrdiff_t(n)));
      f.folder.put(f.label_name, good_labels);
      CHECK_THROWS_AS(Idx(f.folder.path()), Error);
    }
  }
}

TEST_CASE("damaged compression, and bytes after it") {
  const Bytes whole = gzip(good_images);
  int noticed = 0, flips = 0;
  for (std::size_t i = 10; i < whole.size(); ++i, ++flips) {
    Files f;
    Bytes damaged = whole;
    damaged[i] ^= 0x10;
    f.folder.put(f.image_name, damaged);
    f.folder.put(f.label_name, good_labels);
    try {
      Idx data(f.folder.path());
    } catch (const Error&) {
      ++noticed;
    }
  }
  CHECK(noticed == flips);  // by the checksum and length at the end if by nothing else
  Files f;
  Bytes longer = whole;
  longer.push_back(0);
  f.folder.put(f.image_name, longer);
  f.folder.put(f.label_name, good_labels);
  f.complains(f.of(f.image_name) + ": 1 bytes more than its header announces");
}

TEST_CASE("a gzip bomb is not unpacked") {
  Files f;
  f.folder.put(f.image_name, gzip(images(3, 2, 4, std::size_t(8) << 20)));
  f.folder.put(f.label_name, good_labels);
  f.complains(f.of(f.image_name) + ": more data than its header announces");
}

TEST_CASE("Fashion-MNIST itself, where it is at hand") {
  const char* named = std::getenv("RETRACE_FASHION_MNIST");
  const fs::path folder = named ? named : "/usr/share/datasets/fashion-mnist";
  if (!named && !fs::exists(folder)) {
    MESSAGE(
        "no Fashion-MNIST here: RETRACE_FASHION_MNIST or Debian's dataset-fashion-mnist would provide it");
    return;
  }
  const auto test = open_dataset("idx:" + folder.string() + ",split=test,labels=fashion");
  REQUIRE(test->size() == 10000);
  const Sample first = test->sample(0);
  CHECK(first.picture.width == 28);
  CHECK(test->labels()[std::size_t(first.label)] == "Ankle boot");
  std::vector<int> counts(10);
  for (std::size_t i = 0; i < test->size(); ++i) ++counts[std::size_t(test->sample(i).label)];
  for (const int count : counts) CHECK(count == 1000);
}

}  // namespace
}  // namespace retrace::data
