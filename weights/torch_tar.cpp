// The oldest container (PyTorch before 0.1.10): a tar archive of four files of pickles and raw numbers.
//   sys_info   a dict: protocol_version 1000, little_endian, sizes of C types
//   storages   their number; for each (key, location, type), an int64 count and the elements; then a list of views,
//              (key, key of the storage, first element, elements)
//   tensors    their number; for each (key, key of its storage, type), then int64: dimensions, sizes, strides, offset
//   pickle     the object; a tensor in it is a persistent id, its key in decimal
// Reference: legacy_load in torch/serialization.py.
#include <fmt/format.h>

#include <cstring>
#include <map>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/pickle.h"
#include "weights/readers.h"
#include "weights/tar_archive.h"
#include "weights/torch_tensors.h"

namespace retrace::weights {
namespace {

constexpr std::int64_t known_protocol = 1000;

// One of the four files, front to back.
class Part {
 public:
  Part(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}, byte {}: {}", where_, at_, what));
  }
  Pickle pickle(const PickleObjects* known = nullptr) {
    Pickle next = unpickle(bytes_.subspan(at_), fmt::format("{}, byte {}", where_, at_), known);
    at_ += next.length;
    return next;
  }
  std::int64_t number() {
    std::int64_t value = 0;
    std::memcpy(&value, take(sizeof(value)).data(), sizeof(value));
    return value;
  }
  std::span<const std::byte> take(std::uint64_t n) {
    if (n > bytes_.size() - at_) {
      fail(fmt::format("needs {} bytes, but {} are left; the file is cut short or damaged", n,
                       bytes_.size() - at_));
    }
    const auto out = bytes_.subspan(at_, std::size_t(n));
    at_ += std::size_t(n);
    return out;
  }
  void end() const {
    if (at_ != bytes_.size()) fail(fmt::format("{} bytes are left", bytes_.size() - at_));
  }

  // The pickled number of things that follow.
  std::int64_t count() {
    const Pickle pickled = pickle();
    const PickleNode& node = pickled[pickled.root];
    if (node.kind != PickleKind::integer || node.integer < 0) {
      fail(fmt::format("a {} where a number of entries is expected", pickle_type_name(node)));
    }
    return node.integer;
  }
  // The item of a pickled tuple of that size.
  const PickleNode& item(const Pickle& pickled, PickleRef tuple, std::size_t index, std::size_t size,
                         PickleKind kind, const char* what) const {
    const PickleNode& node = pickled[tuple];
    if ((node.kind != PickleKind::tuple && node.kind != PickleKind::list) || node.items.size() != size) {
      fail(fmt::format("a {} of {} items, expected {} that describe a {}", pickle_type_name(node),
                       node.items.size(), size, what));
    }
    const PickleNode& found = pickled[node.items[index]];
    if (found.kind != kind) {
      fail(fmt::format("a {}'s description has a {} as its item {}", what, pickle_type_name(found), index));
    }
    return found;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  std::size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(const std::shared_ptr<const MappedFile>& file)
      : file_(file), entries_(read_tar(file->bytes(), file->path())) {}

  Checkpoint read() {
    for (const char* name : {"sys_info", "storages", "tensors", "pickle"}) {
      if (!entries_.contains(name)) {
        throw Error(
            fmt::format("{}: is a tar archive, but no PyTorch checkpoint: it has no {} (extract it first?)",
                        file_->path(), quote(name)));
      }
    }
    check_system();
    read_storages();
    read_tensors();
    Part part = open("pickle");
    const Pickle object = part.pickle(&known_);
    Checkpoint checkpoint;
    checkpoint.path = file_->path();
    checkpoint.format = "pytorch tar";
    checkpoint.container["protocol"] = std::to_string(known_protocol);
    add_torch_tensors(
        checkpoint, object, find_state_dict(object, file_->path()), file_,
        [this](const PickleStorage& storage) { return bytes_.find(storage.key)->second; },
        /*big_endian=*/false);
    return checkpoint;
  }

 private:
  Part open(const char* name) const {
    return {entries_.find(name)->second, fmt::format("{}: PyTorch tar: {}", file_->path(), name)};
  }

  void check_system() const {
    Part part = open("sys_info");
    const Pickle pickled = part.pickle();
    const PickleNode& info = pickled[pickled.root];
    if (info.kind != PickleKind::dict) part.fail("is not a dict");
    for (std::size_t i = 0; i < info.items.size(); i += 2) {
      const PickleNode &key = pickled[info.items[i]], &value = pickled[info.items[i + 1]];
      if (key.kind != PickleKind::text) continue;
      if (key.text == "little_endian" && (value.kind != PickleKind::boolean || !value.integer)) {
        part.fail("written on a big-endian machine, which is not read");
      }
      if (key.text == "protocol_version" &&
          (value.kind != PickleKind::integer || value.integer != known_protocol)) {
        part.fail(fmt::format("protocol_version is not {}", known_protocol));
      }
    }
  }

  void read_storages() {
    Part part = open("storages");
    std::map<std::int64_t, PickleStorage> roots;
    for (std::int64_t left = part.count(); left > 0; --left) {
      const Pickle pickled = part.pickle();
      const auto& key = part.item(pickled, pickled.root, 0, 3, PickleKind::integer, "storage");
      const auto& type = part.item(pickled, pickled.root, 2, 3, PickleKind::global, "storage");
      if (type.global.name != PickleName::storage || !type.global.dtype) {
        part.fail(fmt::format("a storage is a {}, not one of torch's storages", quote(type.text)));
      }
      PickleStorage storage;
      storage.dtype = type.global.dtype;
      storage.count = storage.view_count = part.number();
      const auto size = storage.count < 0 ? std::nullopt
                                          : checked_mul(std::uint64_t(storage.count),
                                                        std::uint64_t(dtype_size(*storage.dtype)));
      if (!size) part.fail(fmt::format("storage {} has {} elements", key.integer, storage.count));
      const auto [at, fresh] = bytes_.emplace(std::to_string(key.integer), part.take(*size));
      if (!fresh) part.fail(fmt::format("two storages have the key {}", key.integer));
      storage.key = at->first;
      roots.emplace(key.integer, storage);
      add_storage(part, key.integer, storage);
    }
    const Pickle views = part.pickle();
    const PickleNode& list = views[views.root];
    if (list.kind != PickleKind::list && list.kind != PickleKind::tuple)
      part.fail("the views are not a list");
    for (const PickleRef ref : list.items) {
      const auto number = [&](std::size_t i) {
        return part.item(views, ref, i, 4, PickleKind::integer, "view").integer;
      };
      const auto root = roots.find(number(1));
      if (root == roots.end()) part.fail(fmt::format("a view of storage {}, which is not there", number(1)));
      PickleStorage storage = root->second;
      storage.view_begin = number(2);
      storage.view_count = number(3);  // add_torch_tensors checks both
      add_storage(part, number(0), storage);
    }
    part.end();
  }

  void add_storage(const Part& part, std::int64_t key, const PickleStorage& storage) {
    if (!storages_.emplace(key, known_.storages.size()).second) {
      part.fail(fmt::format("two storages have the key {}", key));
    }
    known_.storages.push_back(storage);
  }

  void read_tensors() {
    Part part = open("tensors");
    for (std::int64_t left = part.count(); left > 0; --left) {
      const Pickle pickled = part.pickle();
      const auto& key = part.item(pickled, pickled.root, 0, 3, PickleKind::integer, "tensor");
      const auto& storage = part.item(pickled, pickled.root, 1, 3, PickleKind::integer, "tensor");
      const auto& type = part.item(pickled, pickled.root, 2, 3, PickleKind::global, "tensor");
      const auto found = storages_.find(storage.integer);
      if (found == storages_.end()) {
        part.fail(
            fmt::format("tensor {} is in storage {}, which is not there", key.integer, storage.integer));
      }
      if (type.global.name != PickleName::tensor_type ||
          type.global.dtype != known_.storages[found->second].dtype) {
        part.fail(
            fmt::format("tensor {} is a {}, which does not fit its storage", key.integer, quote(type.text)));
      }
      PickleTensor tensor;
      tensor.storage = found->second;
      const std::int64_t dimensions = part.number() & 0xffffffff;  // the upper half was never set by some
      constexpr std::int64_t most = 64;
      if (dimensions > most) part.fail(fmt::format("tensor {} has {} dimensions", key.integer, dimensions));
      for (auto* numbers : {&tensor.shape, &tensor.strides}) {
        for (std::int64_t d = 0; d < dimensions; ++d) numbers->push_back(part.number());
      }
      tensor.offset = part.number();
      if (!known_.tensor_of.emplace(key.integer, known_.tensors.size()).second) {
        part.fail(fmt::format("two tensors have the key {}", key.integer));
      }
      known_.tensors.push_back(std::move(tensor));
    }
    part.end();
  }

  std::shared_ptr<const MappedFile> file_;
  TarEntries entries_;
  PickleObjects known_;
  std::map<std::int64_t, std::size_t> storages_;  // by key, index into known_.storages
  std::map<std::string, std::span<const std::byte>, std::less<>>
      bytes_;  // of whole storages, by key in decimal
};

}  // namespace

Checkpoint read_torch_tar(const std::shared_ptr<const MappedFile>& file) {
  return Reader(file).read();
}

}  // namespace retrace::weights
