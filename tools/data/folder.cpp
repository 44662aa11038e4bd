#include "tools/data/folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "kernels/error.h"
#include "tools/image/expand.h"
#include "tools/image/picture.h"

namespace retrace::data {

namespace fs = std::filesystem;

Folder::Folder(const fs::path& folder) : spec_("folder:" + folder.string()) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) throw Error(folder.string() + ": no such folder");
  if (error) throw Error(folder.string() + ": cannot be read: " + error.message());
  if (!fs::is_directory(status))
    throw Error(folder.string() + ": not a folder, expected one with a sub-folder per class");

  std::vector<fs::path> classes;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    if (!entry->path().filename().string().starts_with('.') && entry->is_directory(ignored))
      classes.push_back(entry->path());
  }
  if (error) throw Error(fmt::format("{}: the folder cannot be read: {}", folder.string(), error.message()));
  if (classes.empty())
    throw Error(folder.string() + ": no sub-folders, expected one per class with its pictures");
  std::sort(classes.begin(), classes.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  for (const fs::path& path : classes) {
    for (fs::path& picture : image::expand_images(std::span(&path, 1)))
      entries_.push_back({std::move(picture), int(labels_.size())});
    labels_.push_back(path.filename().string());
  }
}

Sample Folder::sample(std::size_t index) const {
  if (index >= size()) throw Error(fmt::format("{}: sample {}, expected 0 to {}", spec_, index, size() - 1));
  Sample sample;
  sample.picture = image::load_picture(entries_[index].path);
  sample.label = entries_[index].label;
  sample.name = entries_[index].path.string();
  return sample;
}

}  // namespace retrace::data
