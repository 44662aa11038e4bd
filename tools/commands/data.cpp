// Looking at a data set: its pictures and masks as files.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "attribution/render/png.h"
#include "tools/commands/commands.h"
#include "tools/console.h"
#include "tools/data/dataset.h"
#include "tools/session.h"

namespace retrace::tools {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string data;
  fs::path out;
  std::size_t first = 0, count = 16;
  bool quiet = false;
};

// White where the object is.
Picture draw_mask(const data::Object& object, const Picture& picture) {
  Picture mask{picture.width, picture.height, std::vector<std::uint8_t>(picture.rgb.size())};
  for (std::size_t i = 0; i < object.mask.size(); ++i) {
    if (object.mask[i]) std::fill_n(mask.rgb.begin() + std::ptrdiff_t(3 * i), 3, 255);
  }
  return mask;
}

int run(const Options& o) {
  const auto data = data::open_dataset(o.data);
  if (o.first >= data->size()) {
    throw UsageError(fmt::format("--first {}: {} has samples 0 to {}", o.first, o.data, data->size() - 1));
  }
  const std::size_t end = o.first + std::min(o.count, data->size() - o.first);
  Console console(o.quiet);
  make_folder(o.out);
  bool masks = false;
  console.begin_progress(end - o.first, "pictures");
  for (std::size_t i = o.first; i < end; ++i) {
    const data::Sample sample = data->sample(i);
    std::string name = fmt::format("{:06}", i);
    std::vector<int> classes{sample.label};
    for (const data::Object& object : sample.objects) classes.push_back(object.label);
    for (std::size_t c = 0; c < classes.size(); ++c) {
      if (std::find(classes.begin(), classes.begin() + std::ptrdiff_t(c), classes[c]) ==
          classes.begin() + std::ptrdiff_t(c)) {
        name += "-" + data->labels()[std::size_t(classes[c])];
      }
    }
    // A class may be called anything, as a folder may.
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == '/' || c == '\0'; }, '_');
    render::write_png(o.out / (name + ".png"), sample.picture);
    if (!sample.objects.empty() && !masks) make_folder(o.out / "masks");
    for (const data::Object& object : sample.objects) {
      masks = true;
      // What `explain --masks` looks for.
      const std::string end = sample.objects.size() > 1
                                  ? fmt::format(".{}.png", data->labels()[std::size_t(object.label)])
                                  : ".png";
      render::write_png(o.out / "masks" / (name + end), draw_mask(object, sample.picture));
    }
    console.advance();
  }
  console.end_progress();
  console.result(fmt::format("{}: {} pictures of {}{}\n", o.out.string(), end - o.first, data->spec(),
                             masks ? ", masks in masks/" : ""));
  return 0;
}

}  // namespace

Command add_data(const Arguments& program) {
  const Arguments arguments =
      program.command("data", "Write a data set's pictures and masks as files, to look at them");
  auto o = std::make_shared<Options>();
  arguments.add("data", o->data, "scenes:…, idx:FOLDER or folder:FOLDER").required();
  arguments.add("--out", o->out, "Folder the pictures are written to").required();
  arguments.add("--first", o->first, "The first sample").shows_default();
  arguments.add("--count", o->count, "How many").above_zero().shows_default();
  arguments.flag("--quiet", o->quiet, "No progress bar");
  return {arguments, [o] { return run(*o); }};
}

}  // namespace retrace::tools
