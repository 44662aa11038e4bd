// Pictures sorted into folders.
#pragma once
#include <filesystem>

#include "tools/data/dataset.h"

namespace retrace::data {

// FOLDER/CLASS/PICTURE: every sub-folder is a class, in the order of their names byte by byte, and holds its pictures
// (image/expand.h says which files those are). Hidden sub-folders and files beside them are left out. Pictures are read
// when they are asked for, and may be of any size. No masks.
class Folder final : public Dataset {
 public:
  // Throws Error for no such folder, no sub-folders, or one without pictures.
  explicit Folder(const std::filesystem::path& folder);

  std::size_t size() const override { return entries_.size(); }
  const std::vector<std::string>& labels() const override { return labels_; }
  // Throws Error naming the file where it cannot be read: see image/picture.h.
  Sample sample(std::size_t index) const override;
  const std::string& spec() const override { return spec_; }

 private:
  struct Entry {
    std::filesystem::path path;
    int label;
  };
  std::string spec_;
  std::vector<std::string> labels_;
  std::vector<Entry> entries_;
};

}  // namespace retrace::data
