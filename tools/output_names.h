// What output files are called: by the picture's stem; where pictures of different folders or formats share a
// stem, by as much more of their path as tells them apart.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace retrace::tools {

class OutputNames {
 public:
  explicit OutputNames(const std::vector<std::filesystem::path>& images);
  const std::string& stem_of(const std::filesystem::path& image) const { return names_.at(image); }

 private:
  std::map<std::filesystem::path, std::string> names_;
};

}  // namespace retrace::tools
