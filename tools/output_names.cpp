#include "tools/output_names.h"

#include <set>

namespace retrace::tools {

namespace {

// Level 0: the stem; 1: the folder's name before it; 2: the extension too; beyond: with a number.
std::string candidate(const std::filesystem::path& image, int level, int number) {
  if (level == 0) return image.stem().string();
  const std::string folder =
      std::filesystem::absolute(image).lexically_normal().parent_path().filename().string();
  std::string name = (folder.empty() ? "" : folder + "_") + image.stem().string();
  if (level >= 2) {
    const std::string extension = image.extension().string();
    if (extension.size() > 1) name += "_" + extension.substr(1);
  }
  // Other numbers at each level: a name that another picture has already is not tried again.
  if (level >= 3) name += "_" + std::to_string(number + level - 3);
  return name;
}

}  // namespace

OutputNames::OutputNames(const std::vector<std::filesystem::path>& images) {
  std::set<std::filesystem::path> open(images.begin(), images.end());
  std::set<std::string> taken;
  for (int level = 0; !open.empty(); ++level) {
    std::map<std::string, int> count;
    int number = 0;
    for (const auto& image : open) ++count[candidate(image, level, ++number)];
    std::set<std::filesystem::path> still_open;
    number = 0;
    for (const auto& image : open) {
      const std::string name = candidate(image, level, ++number);
      if (count[name] == 1 && taken.insert(name).second) {
        names_[image] = name;
      } else {
        still_open.insert(image);
      }
    }
    open = std::move(still_open);
  }
}

}  // namespace retrace::tools
