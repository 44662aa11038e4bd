#include "weights/torch_tensors.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/strided_copy.h"

namespace retrace::weights {
namespace {

class Maker {
 public:
  Maker(const Pickle& pickle, std::shared_ptr<const MappedFile> file, const FindStorage& find_storage,
        bool big_endian)
      : pickle_(pickle), file_(std::move(file)), find_storage_(find_storage), big_endian_(big_endian) {
    budget_ = unfolding_budget(file_->bytes().size());
    left_ = budget_;
  }

  HostTensor make(const std::string& name, const PickleTensor& source) {
    name_ = &name;
    const PickleStorage& storage = pickle_.storages.at(source.storage);
    HostTensor tensor{name, source.dtype.value_or(storage.dtype.value_or(DType::u8)), source.shape, nullptr};
    // A third-version tensor counts in its own elements over a storage of bytes.
    const std::size_t unit = dtype_size(tensor.dtype);
    const std::span<const std::byte> bytes = view(storage);
    const std::int64_t available = std::int64_t(bytes.size() / unit);

    if (source.shape.size() != source.strides.size()) {
      fail(fmt::format("has {} sizes but {} strides", source.shape.size(), source.strides.size()));
    }
    const auto count = element_count(source.shape);
    const auto size = count ? checked_mul(std::uint64_t(*count), std::uint64_t(unit)) : std::nullopt;
    if (!size) fail(fmt::format("shape {} is not possible", shape_text(source.shape)));
    if (source.offset < 0) fail(fmt::format("begins at element {} of its storage", source.offset));
    for (const std::int64_t stride : source.strides) {
      if (stride < 0) fail(fmt::format("strides {} are negative", shape_text(source.strides)));
    }
    if (*count == 0) {
      tensor.data = {file_, file_->bytes().data()};  // never read, but never null either
      return tensor;
    }
    check_end(source, available);
    if (*size > left_) {
      fail(fmt::format("shape {} of {} brings the file's tensors over the limit of {} bytes for a file of {}",
                       shape_text(source.shape), dtype_name(tensor.dtype), budget_, file_->bytes().size()));
    }
    left_ -= *size;

    const std::byte* first = bytes.data() + std::size_t(source.offset) * unit;
    if (contiguous(source) && !(big_endian_ && unit > 1) && !source.negative) {
      tensor.data = {file_, first};
    } else {
      std::shared_ptr<std::byte[]> memory(new std::byte[*size]);
      copy_strided(first, unit, source.shape, source.strides, big_endian_, memory.get());
      if (source.negative) negate(tensor.dtype, {memory.get(), std::size_t(*size)});
      tensor.data = {memory, memory.get()};
    }
    return tensor;
  }

 private:
  // Little-endian elements; whole numbers wrap around, as in PyTorch.
  void negate(DType type, std::span<std::byte> bytes) const {
    if (type == DType::boolean) fail("is a bool with the negative bit, which none can have");
    const std::size_t unit = dtype_size(type);
    for (std::size_t at = 0; at < bytes.size(); at += unit) {
      if (is_floating(type)) {
        bytes[at + unit - 1] ^= std::byte{0x80};
        continue;
      }
      unsigned carry = 1;
      for (std::byte& part : bytes.subspan(at, unit)) {
        carry += unsigned(~part) & 0xffu;
        part = std::byte(carry & 0xffu);
        carry >>= 8;
      }
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: tensor {}: {}", file_->path(), quote(*name_), what));
  }

  // The bytes of the part of a storage that a tensor sees.
  std::span<const std::byte> view(const PickleStorage& storage) const {
    const std::size_t unit = dtype_size(storage.dtype.value_or(DType::u8));
    if (storage.view_begin < 0 || storage.view_count < 0 || storage.view_begin > storage.count ||
        storage.view_count > storage.count - storage.view_begin) {
      fail(fmt::format("views elements {} + {} of a storage of {}", storage.view_begin, storage.view_count,
                       storage.count));
    }
    const auto bytes = find_storage_(storage);  // count · unit of them
    return bytes.subspan(std::size_t(storage.view_begin) * unit, std::size_t(storage.view_count) * unit);
  }

  // The last element read must lie inside the storage. Sizes are at least 1 here.
  void check_end(const PickleTensor& source, std::int64_t available) const {
    std::optional<std::int64_t> last = source.offset;
    for (std::size_t i = 0; i < source.shape.size() && last; ++i) {
      const auto reach = checked_mul(source.shape[i] - 1, source.strides[i]);
      last = reach ? checked_add(*last, *reach) : std::nullopt;
    }
    if (!last || *last >= available) {
      fail(fmt::format("shape {} with strides {} from element {} does not lie in its storage of {} elements",
                       shape_text(source.shape), shape_text(source.strides), source.offset, available));
    }
  }

  static bool contiguous(const PickleTensor& source) {
    std::int64_t stride = 1;
    for (std::size_t i = source.shape.size(); i-- > 0;) {
      if (source.shape[i] != 1 && source.strides[i] != stride) return false;
      stride *= source.shape[i];
    }
    return true;
  }

  const Pickle& pickle_;
  std::shared_ptr<const MappedFile> file_;
  const FindStorage& find_storage_;
  bool big_endian_;
  std::uint64_t budget_ = 0, left_ = 0;
  const std::string* name_ = nullptr;
};

}  // namespace

void add_torch_tensors(Checkpoint& checkpoint, const Pickle& pickle, StateDict weights,
                       const std::shared_ptr<const MappedFile>& file, const FindStorage& find_storage,
                       bool big_endian) {
  Maker maker(pickle, file, find_storage, big_endian);
  for (const auto& [name, tensor] : weights.tensors) {
    checkpoint.tensors.push_back(maker.make(name, pickle.tensors.at(tensor)));
  }
  for (const auto& [name, tensor] : weights.averaged) {
    checkpoint.averaged.push_back(maker.make(name, pickle.tensors.at(tensor)));
  }
  if (!weights.averaged.empty())
    checkpoint.averaged_from = fmt::format("entry {}", quote(weights.averaged_key));
  checkpoint.metadata = std::move(weights.metadata);
  checkpoint.notes.insert(checkpoint.notes.end(), weights.notes.begin(), weights.notes.end());
}

}  // namespace retrace::weights
