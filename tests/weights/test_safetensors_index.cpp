// Networks in several files: what the index says and what the shards hold must agree.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include "build_files.h"
#include "weights/safetensors.h"

namespace retrace::weights::test {
namespace fs = std::filesystem;
namespace {

// Two shards, a.safetensors with tensors w and x, b.safetensors with y, and the index that fits them.
class Shards {
 public:
  Shards() {
    SafetensorsOptions options;
    options.metadata = {{"format", "pt"}};
    write_safetensors(
        folder / "a.safetensors",
        std::vector{HostTensor::from_f32("w", {2}, {1, 2}), HostTensor::from_f32("x", {1}, {3})}, options);
    write_safetensors(folder / "b.safetensors", std::vector{HostTensor::from_f32("y", {1, 1}, {4})}, options);
  }
  Checkpoint read(const std::string& index) const {
    write_file(folder / "net.index.json", index);
    return read_checkpoint(folder / "net.index.json");
  }
  // The message of a map with these entries.
  std::string error(const std::string& map) const { return error_of_text(R"({"weight_map":{)" + map + "}}"); }
  std::string error_of_text(const std::string& index) const {
    const std::string message = error_of([&] { read(index); });
    CHECK(message.starts_with((folder / "net.index.json").string() + ": safetensors index: "));
    return message;
  }
  TemporaryFolder folder;
};

const std::string good = R"("w":"a.safetensors","x":"a.safetensors","y":"b.safetensors")";

}  // namespace

TEST_CASE("safetensors index: the tensors of all shards") {
  const Shards shards;
  const Checkpoint c =
      shards.read(R"({"metadata":{"total_size":16,"by":"test"},"weight_map":{)" + good + "}}\n");
  CHECK(c.format == "safetensors in 2 files");
  CHECK(c.path == (shards.folder / "net.index.json").string());
  CHECK(c.tensors.size() == 3);
  CHECK(raw(c, "w", DType::f32, {2}) == bytes_of<float>({1, 2}));
  CHECK(raw(c, "x", DType::f32, {1}) == bytes_of<float>({3}));
  CHECK(raw(c, "y", DType::f32, {1, 1}) == bytes_of<float>({4}));
  CHECK(c.metadata ==
        std::map<std::string, std::string>{{"format", "pt"}, {"total_size", "16"}, {"by", "test"}});
  CHECK(c.notes.empty());

  // As a download cache keeps them: links to files of other names elsewhere.
  const TemporaryFolder cache;
  for (const char* name : {"net.index.json", "a.safetensors", "b.safetensors"}) {
    fs::create_symlink(shards.folder / name, cache / name);
  }
  CHECK(read_checkpoint(cache / "net.index.json").tensors.size() == 3);
  // From its own folder, by a name without one.
  const fs::path before = fs::current_path();
  fs::current_path(shards.folder.path());
  CHECK(read_checkpoint("net.index.json").tensors.size() == 3);
  fs::current_path(before);
}

TEST_CASE(
    "safetensors index: a wrong total is only mentioned, and so are shards that contradict each other") {
  const Shards shards;
  Checkpoint c = shards.read(R"( {"weight_map":{)" + good + R"(},"metadata":{"total_size":17}})");
  REQUIRE(c.notes.size() == 1);
  CHECK(contains(c.notes[0], "says total_size '17', its tensors take 16 bytes"));
  SafetensorsOptions options;
  options.metadata = {{"format", "np"}};
  write_safetensors(shards.folder / "b.safetensors", std::vector{HostTensor::from_f32("y", {1, 1}, {4})},
                    options);
  c = shards.read(R"({"weight_map":{)" + good + "}}");
  REQUIRE(c.notes.size() == 1);
  CHECK(contains(c.notes[0], "metadata 'format' of shard 'b.safetensors' differs"));
  CHECK(c.metadata.at("format") == "pt");
}

TEST_CASE("safetensors index: map and shards that do not agree") {
  const Shards s;
  CHECK(
      contains(s.error(R"("w":"a.safetensors","x":"a.safetensors")" + std::string(R"(,"y":"a.safetensors")")),
               "tensor 'y' is not in shard 'a.safetensors'"));
  CHECK(contains(s.error(R"("w":"a.safetensors","x":"b.safetensors","y":"b.safetensors")"),
                 "tensor 'x' is in shard 'a.safetensors', but weight_map says 'b.safetensors'"));
  CHECK(contains(s.error(good + R"(,"z":"b.safetensors")"), "tensor 'z' is not in shard 'b.safetensors'"));
  CHECK(contains(s.error(R"("w":"a.safetensors")"),
                 "tensor 'x' of shard 'a.safetensors' is not in weight_map"));
  CHECK(contains(s.error(good + R"(,"z":"c.safetensors")"), "shard 'c.safetensors': "));
  CHECK(contains(s.error(good + R"(,"z":"c.safetensors")"), "cannot open: No such file"));
  CHECK(contains(s.error(good + R"(,"w":"b.safetensors")"), "key 'w' stands twice"));
  // The same tensor in both shards.
  write_safetensors(s.folder / "b.safetensors",
                    std::vector{HostTensor::from_f32("y", {1, 1}, {4}), HostTensor::from_f32("w", {1}, {4})});
  CHECK(contains(s.error(good), "tensor 'w' of shard 'b.safetensors' is in two shards"));
}

TEST_CASE("safetensors index: no name leads out of the index's folder") {
  const Shards s;
  for (const char* name : {"/etc/passwd", "../a.safetensors", "sub/a.safetensors", "./a.safetensors", "..",
                           ".", "", "sub\\\\a.safetensors", "a\\u0000.safetensors", "a\\n"}) {
    INFO(name);
    CHECK(contains(s.error(good + R"(,"z":")" + name + "\""),
                   "expected the plain name of a file beside the index"));
  }
}

TEST_CASE("safetensors index: shards of other kinds") {
  const Shards s;
  const auto with = [&](const char* name) { return s.error(good + R"(,"z":")" + name + "\""); };
  fs::copy_file(fixture("module.zip.pt"), s.folder / "z.bin");
  CHECK(contains(with("z.bin"), "z.bin: safetensors: header length"));
  // The index itself: not read again and again.
  CHECK(contains(with("net.index.json"), "net.index.json: safetensors: header length"));
  fs::create_directory(s.folder / "z.folder");
  CHECK(contains(with("z.folder"), "z.folder: is a folder"));
  REQUIRE(::mkfifo((s.folder / "z.pipe").c_str(), 0600) == 0);
  CHECK(contains(with("z.pipe"), "z.pipe: is a pipe"));
  write_file(s.folder / "z.short", "{}");
  CHECK(contains(with("z.short"), "2 bytes hold no header"));
}

TEST_CASE("safetensors index: JSON of other kinds") {
  const Shards s;
  CHECK(contains(s.error_of_text("{}"), "has no weight_map"));
  CHECK(contains(s.error_of_text(R"({"architectures":["ResNet"]})"), "has no weight_map"));
  CHECK(contains(s.error_of_text(R"({"weight_map":[]})"), "weight_map is a JSON array"));
  CHECK(contains(s.error_of_text(R"({"weight_map":{}})"), "weight_map is empty"));
  CHECK(contains(s.error_of_text(R"({"weight_map":{"w":1}})"), "tensor 'w' is mapped to a JSON number"));
  CHECK(contains(s.error_of_text(R"({"weight_map":{)" + good + R"(},"metadata":[]})"),
                 "metadata is a JSON array"));
  CHECK(contains(s.error_of_text(R"({"weight_map":{)" + good), "is not valid JSON"));
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += "{\"weight_map\":";
  CHECK(contains(s.error_of_text(deep), "is nested too deep"));
  // No JSON object at all is no index.
  write_file(s.folder / "list.json", "[1, 2, 3, 4]");
  CHECK(contains(error_of([&] { read_checkpoint(s.folder / "list.json"); }), "data of unknown format"));
}

TEST_CASE("safetensors: a header of 123 bytes, whose length is a brace, is no index") {
  std::string header = R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  header.append(123 - header.size(), ' ');
  CHECK(read_bytes(safetensors(header, "x")).format == "safetensors");
}

}  // namespace retrace::weights::test
