// Folders of pictures, one per class.
#include <doctest/doctest.h>

#include "attribution/render/png.h"
#include "kernels/error.h"
#include "tests/tools/test_image_files.h"
#include "tools/data/folder.h"

namespace retrace::data {
namespace {

namespace fs = std::filesystem;

void draw(const fs::path& path, int width, int height, std::uint8_t red) {
  fs::create_directories(path.parent_path());
  render::write_png(path, render::blank(width, height, {red, 0, 0}));
}

TEST_CASE("classes and pictures in the order of their names") {
  const TemporaryFolder folder;
  draw(folder / "zebra/b.png", 5, 6, 1);
  draw(folder / "zebra/a.png", 3, 4, 2);
  draw(folder / "ant/9.png", 7, 2, 3);
  draw(folder / "Bee/1.png", 2, 2, 4);
  draw(folder / ".hidden/1.png", 2, 2, 5);
  folder.put("README", "not a class");
  folder.put("ant/notes.txt", "not a picture");
  const auto data = open_dataset("folder:" + folder.path().string());
  CHECK(data->labels() == std::vector<std::string>{"Bee", "ant", "zebra"});
  CHECK(data->spec() == "folder:" + folder.path().string());
  REQUIRE(data->size() == 4);
  const int reds[] = {4, 3, 2, 1}, labels[] = {0, 1, 2, 2};
  for (std::size_t i = 0; i < 4; ++i) {
    const Sample sample = data->sample(i);
    CHECK(sample.label == labels[i]);
    CHECK(int(sample.picture.rgb[0]) == reds[i]);
    CHECK(sample.objects.empty());
  }
  CHECK(data->sample(2).name == (folder / "zebra/a.png").string());
  CHECK(data->sample(2).picture.height == 4);
  CHECK_THROWS_AS(data->sample(4), Error);
}

TEST_CASE("what is wrong with a folder") {
  const TemporaryFolder folder;
  const auto complains = [](const fs::path& path, const std::string& message) {
    CHECK_THROWS_WITH_AS(Folder{path}, message.c_str(), Error);
  };
  const std::string name = folder.path().string();
  complains(folder / "nothing", name + "/nothing: no such folder");
  complains(folder.path(), name + ": no sub-folders, expected one per class with its pictures");
  complains(folder.put("file", "x"), name + "/file: not a folder, expected one with a sub-folder per class");
  draw(folder / "ant/1.png", 2, 2, 1);
  fs::create_directory(folder / "bee");
  complains(folder.path(),
            name + "/bee: no pictures in this folder (.jpg .jpeg .png .bmp .gif .ppm .pgm .pnm)");
}

TEST_CASE("a picture that cannot be read is named when it is asked for") {
  const TemporaryFolder folder;
  draw(folder / "ant/1.png", 2, 2, 1);
  const fs::path bad = folder.put("ant/2.png", "GIF89a and no more");
  const Folder data(folder.path());
  CHECK(data.sample(0).picture.width == 2);
  try {
    data.sample(1);
    FAIL("a broken picture was read");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).starts_with(bad.string() + ": "));
  }
}

}  // namespace
}  // namespace retrace::data
