// The legacy stream: pickles of magic, protocol, system, object and list of keys; then, for each key in the
// list's order, an int64 element count and that many elements, always little-endian.
#include <fmt/format.h>

#include <cstring>
#include <map>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/pickle.h"
#include "weights/readers.h"
#include "weights/torch_tensors.h"

namespace retrace::weights {
namespace {

// 0x1950a86a20f9469cfc6c, little-endian.
constexpr std::string_view magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr std::int64_t known_protocol = 1001;

class Reader {
 public:
  explicit Reader(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}

  Checkpoint read() {
    next_pickle("magic number");
    const Pickle protocol = next_pickle("protocol number");
    const PickleNode& number = protocol[protocol.root];
    if (number.kind != PickleKind::integer || number.integer != known_protocol) {
      fail(fmt::format("protocol number is {}, expected {}",
                       number.kind == PickleKind::integer ? std::to_string(number.integer)
                                                          : "a " + pickle_type_name(number),
                       known_protocol));
    }
    next_pickle("system information");  // byte order and sizes there; the storages do not depend on them
    const Pickle object = next_pickle("object");
    const Pickle keys = next_pickle("list of storages");
    place_storages(object, keys);

    Checkpoint checkpoint;
    checkpoint.path = file_->path();
    checkpoint.format = "pytorch legacy";
    checkpoint.container["protocol"] = std::to_string(known_protocol);
    add_torch_tensors(
        checkpoint, object, find_state_dict(object, file_->path()), file_,
        [this](const PickleStorage& storage) { return placed_.at(storage.key).bytes; },
        /*big_endian=*/false);
    if (at_ != file_->bytes().size()) {
      checkpoint.notes.push_back(
          fmt::format("{} bytes after the last storage left out", file_->bytes().size() - at_));
    }
    return checkpoint;
  }

 private:
  struct Placed {
    std::size_t unit = 0;
    std::int64_t count = 0;
    bool found = false;
    std::span<const std::byte> bytes;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: PyTorch legacy stream: {}", file_->path(), what));
  }

  Pickle next_pickle(const char* what) {
    Pickle pickle =
        unpickle(file_->bytes().subspan(at_), fmt::format("{}: {} (at byte {})", file_->path(), what, at_));
    at_ += pickle.length;
    return pickle;
  }

  void place_storages(const Pickle& object, const Pickle& keys) {
    // The element size stands only in the object's references.
    for (const PickleStorage& storage : object.storages) {
      const Placed wanted{dtype_size(storage.dtype.value_or(DType::u8)), storage.count, false, {}};
      const auto [entry, fresh] = placed_.try_emplace(storage.key, wanted);
      if (!fresh && (entry->second.unit != wanted.unit || entry->second.count != wanted.count)) {
        fail(fmt::format("storage {} is referred to with different sizes", quote(storage.key)));
      }
    }
    const PickleNode& list = keys[keys.root];
    if (list.kind != PickleKind::list) {
      fail(fmt::format("the list of storages is a {}", pickle_type_name(list)));
    }
    for (const PickleRef item : list.items) {
      if (keys[item].kind != PickleKind::text) {
        fail(fmt::format("a storage's key is a {}, expected text", pickle_type_name(keys[item])));
      }
      const auto entry = placed_.find(keys[item].text);
      if (entry == placed_.end()) {
        fail(fmt::format("storage {} belongs to no tensor, so its size is unknown", quote(keys[item].text)));
      }
      place(entry->first, entry->second);
    }
    for (const auto& [key, storage] : placed_) {
      if (!storage.found) fail(fmt::format("storage {} is not in the file", quote(key)));
    }
  }

  void place(std::string_view key, Placed& storage) {
    if (storage.found) fail(fmt::format("storage {} is listed twice", quote(key)));
    const auto rest = file_->bytes().subspan(at_);
    std::int64_t count = 0;
    if (rest.size() < sizeof(count)) fail(fmt::format("the file ends before storage {}", quote(key)));
    std::memcpy(&count, rest.data(), sizeof(count));
    if (count != storage.count || count < 0) {
      fail(
          fmt::format("storage {} has {} elements, its tensors expect {}", quote(key), count, storage.count));
    }
    const auto body = rest.subspan(sizeof(count));
    if (std::uint64_t(count) > body.size() / storage.unit) {
      fail(fmt::format("storage {} needs {} elements of {} bytes, but {} bytes are left", quote(key), count,
                       storage.unit, body.size()));
    }
    storage.bytes = body.first(std::size_t(count) * storage.unit);
    storage.found = true;
    at_ += sizeof(count) + storage.bytes.size();
  }

  std::shared_ptr<const MappedFile> file_;
  std::size_t at_ = 0;
  std::map<std::string_view, Placed> placed_;  // keys point into the file
};

}  // namespace

bool is_torch_legacy(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() < 2 || text[0] != '\x80' || text[1] < 2 || text[1] > 5) return false;
  // From protocol 4 on, an opcode and eight bytes announce a frame.
  const std::size_t at = text[1] >= 4 && text.substr(2, 1) == "\x95" ? 11 : 2;
  return text.size() > at && text.substr(at, 2) == "\x8a\x0a" && text.substr(at + 2, magic.size()) == magic;
}

Checkpoint read_torch_legacy(const std::shared_ptr<const MappedFile>& file) {
  return Reader(file).read();
}

}  // namespace retrace::weights
