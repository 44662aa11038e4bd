// The zip container: NAME/data.pkl is the object, NAME/data/KEY a storage, NAME/byteorder (since PyTorch 2.1)
// "little" or "big"; NAME is any folder. TorchScript's is the same with NAME/code/… and NAME/constants.pkl beside it.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/pickle.h"
#include "weights/readers.h"
#include "weights/state_dict.h"
#include "weights/torch_script.h"
#include "weights/torch_tensors.h"
#include "weights/zip_archive.h"

namespace retrace::weights {
namespace {

class Reader {
 public:
  Reader(const std::shared_ptr<const MappedFile>& file, ZipArchive archive)
      : file_(file), archive_(std::move(archive)) {}

  Checkpoint read() {
    find_folder();
    const bool script = is_program(), big_endian = read_byte_order();
    const Pickle object = unpickle(archive_.record(folder_ + "data.pkl"), file_->path() + ": data.pkl",
                                   nullptr, script ? PickleDialect::torch_script : PickleDialect::checkpoint);
    Checkpoint checkpoint;
    checkpoint.path = file_->path();
    checkpoint.format = script ? "torchscript" : "pytorch zip";
    for (const char* name : {"version", ".format_version", "byteorder"}) read_about(name, checkpoint);
    StateDict weights;
    if (script) {
      checkpoint.container["class"] = pickle_type_name(object[object.root]);
      weights = find_module_tensors(object, file_->path(), count_constants());
    } else {
      weights = find_state_dict(object, file_->path());
    }
    add_torch_tensors(
        checkpoint, object, std::move(weights), file_,
        [this](const PickleStorage& storage) { return storage_bytes(storage); }, big_endian);
    return checkpoint;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: {}", file_->path(), what));
  }

  void find_folder() {
    constexpr std::string_view object = "/data.pkl";
    std::string_view found;
    for (const auto& [name, record] : archive_.records()) {
      if (!name.ends_with(object) || name.find('/') != name.size() - object.size()) continue;
      if (!found.empty()) {
        fail(fmt::format("has both {} and {}, expected one data.pkl", quote(found), quote(name)));
      }
      found = name;
    }
    if (found.empty()) {
      std::vector<std::string> names;
      for (const auto& [name, record] : archive_.records()) {
        if (name.ends_with("/model.json")) {
          fail(
              "is a TorchScript program from before PyTorch 1.4, which is not read; load it with a newer one "
              "and save "
              "it again");
        }
        names.push_back(quote(name));
      }
      fail(fmt::format("is a zip archive of {}, but no PyTorch checkpoint: it has no data.pkl",
                       names.empty() ? "nothing" : listed(names, 4)));
    }
    folder_ = found.substr(0, found.size() - object.size() + 1);
  }

  // What torch.jit.save wrote: constants and code beside the object.
  bool is_program() const {
    return archive_.contains(folder_ + "constants.pkl") && count_records("code/") > 0;
  }
  // Tensors that the program's code refers to by number.
  std::size_t count_constants() const { return count_records("constants/"); }

  std::size_t count_records(const std::string& below) const {
    const std::string start = folder_ + below;
    return std::size_t(std::count_if(archive_.records().begin(), archive_.records().end(),
                                     [&](const auto& record) { return record.first.starts_with(start); }));
  }

  // A short record of text about the archive itself.
  void read_about(const std::string& name, Checkpoint& checkpoint) const {
    constexpr std::size_t longest = 32;
    if (!archive_.contains(folder_ + name)) return;
    const auto bytes = archive_.record(folder_ + name);
    std::string text(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), longest));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (!text.empty() && printable) checkpoint.container[name] = text;
  }

  bool read_byte_order() const {
    if (!archive_.contains(folder_ + "byteorder")) return false;
    const auto bytes = archive_.record(folder_ + "byteorder");
    const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (order != "little" && order != "big") {
      fail(fmt::format("its byteorder is {}, expected 'little' or 'big'", quote(order)));
    }
    return order == "big";
  }

  std::span<const std::byte> storage_bytes(const PickleStorage& storage) const {
    const std::string name = folder_ + "data/" + std::string(storage.key);
    const auto bytes = archive_.record(name);
    const std::size_t unit = dtype_size(storage.dtype.value_or(DType::u8));
    if (storage.count < 0 || bytes.size() % unit != 0 ||
        bytes.size() / unit != std::uint64_t(storage.count)) {
      fail(fmt::format("record {} holds {} bytes, its tensors expect {} elements of {} bytes", quote(name),
                       bytes.size(), storage.count, unit));
    }
    return bytes;
  }

  std::shared_ptr<const MappedFile> file_;
  ZipArchive archive_;
  std::string folder_;
};

}  // namespace

Checkpoint read_torch_zip(const std::shared_ptr<const MappedFile>& file, ZipArchive archive) {
  return Reader(file, std::move(archive)).read();
}

}  // namespace retrace::weights
