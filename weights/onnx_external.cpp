#include "weights/onnx_external.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

namespace fs = std::filesystem;

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file) {}

  void read(std::vector<OnnxTensor>& tensors) {
    std::map<std::string, std::uint64_t> used;  // of each location
    for (const OnnxTensor& t : tensors) {
      if (!t.external) continue;
      std::uint64_t& sum = used[t.external->location];
      const std::uint64_t bytes = checked_size(t);
      const auto next = checked_add(sum, bytes);
      if (!next) fail(t, "its file cannot be so large");
      sum = *next;
    }
    std::map<std::string, std::shared_ptr<const MappedFile>> open;
    for (OnnxTensor& t : tensors) {
      if (!t.external) continue;
      std::shared_ptr<const MappedFile>& data = open[t.external->location];
      if (!data) data = open_file(t, used.at(t.external->location));
      place(t, data);
    }
  }

 private:
  [[noreturn]] void fail(const OnnxTensor& t, const std::string& what) const {
    throw Error(fmt::format("{}: ONNX: tensor {}: external data {}: {}", file_.path(), quote(t.tensor.name),
                            quote(t.external->location), what));
  }

  std::uint64_t checked_size(const OnnxTensor& t) const {
    const std::uint64_t size = t.tensor.byte_size();
    if (t.external->length && *t.external->length != size) {
      fail(t, fmt::format("has {} bytes, shape {} of {} needs {}", *t.external->length,
                          shape_text(t.tensor.shape), dtype_name(t.tensor.dtype), size));
    }
    return size;
  }

  std::shared_ptr<const MappedFile> open_file(const OnnxTensor& t, std::uint64_t used) const {
    const std::string& location = t.external->location;
    if (location.find('\0') != std::string::npos) fail(t, "is no file name");
    const fs::path relative(location);
    if (relative.is_absolute()) fail(t, "is an absolute path, expected one beneath the .onnx file's folder");
    if (std::any_of(relative.begin(), relative.end(), [](const fs::path& part) { return part == ".."; })) {
      fail(t, "leads upwards, expected a path beneath the .onnx file's folder");
    }
    std::error_code error;
    const fs::path parent = fs::path(file_.path()).parent_path();
    const fs::path folder = fs::canonical(parent.empty() ? fs::path(".") : parent, error);
    if (error) fail(t, fmt::format("cannot find the .onnx file's folder: {}", error.message()));
    const fs::path real = fs::canonical(folder / relative, error);
    if (error) fail(t, fmt::format("cannot find: {}", error.message()));
    const auto [left, rest] = std::mismatch(folder.begin(), folder.end(), real.begin(), real.end());
    if (left != folder.end() || rest == real.end()) {
      fail(t, fmt::format("is {} in truth, outside of the .onnx file's folder", quote(real.string())));
    }
    // Not opened before its size is known to make sense; a pipe or folder has none, and is refused by MappedFile.
    const std::uint64_t size = fs::is_regular_file(real, error) ? fs::file_size(real, error) : 0;
    if (!error && size > unfolding_budget(used)) {
      fail(t, fmt::format("has {} bytes, of which the tensors use {}", size, used));
    }
    try {
      return MappedFile::open(real);
    } catch (const Error& refused) {
      fail(t, refused.what());
    }
  }

  void place(OnnxTensor& t, const std::shared_ptr<const MappedFile>& data) const {
    const std::uint64_t size = t.tensor.byte_size(), offset = t.external->offset,
                        whole = data->bytes().size();
    if (offset > whole || size > whole - offset) {
      fail(t, fmt::format("bytes {} + {} do not lie in the file of {}", offset, size, whole));
    }
    t.tensor.data = {data, data->bytes().data() + offset};
  }

  const MappedFile& file_;
};

}  // namespace

void read_onnx_external(const std::shared_ptr<const MappedFile>& file, std::vector<OnnxTensor>& tensors) {
  Reader(*file).read(tensors);
}

}  // namespace retrace::weights
