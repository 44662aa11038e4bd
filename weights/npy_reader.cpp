// NumPy arrays: one .npy file, a folder of them, and .npz archives (zip, each record an .npy file).
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <system_error>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/inflate.h"
#include "weights/npy_header.h"
#include "weights/readers.h"
#include "weights/strided_copy.h"

namespace retrace::weights {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view suffix = ".npy";

// The tensor of an .npy file whose bytes `owner` keeps. `where` begins every message.
HostTensor make_tensor(std::string name, const NpyHeader& header, std::span<const std::byte> bytes,
                       const std::shared_ptr<const void>& owner, const std::string& where) {
  if (bytes.size() - header.size != header.data_bytes) {
    throw Error(fmt::format("{}: {} bytes follow the npy header, shape {} of {} needs {}", where,
                            bytes.size() - header.size, shape_text(header.shape), dtype_name(header.dtype),
                            header.data_bytes));
  }
  HostTensor tensor{std::move(name), header.dtype, header.shape, nullptr};
  const std::byte* const first = bytes.data() + header.size;
  const std::size_t unit = dtype_size(header.dtype);
  const auto real_axes =
      std::count_if(header.shape.begin(), header.shape.end(), [](auto size) { return size != 1; });
  const bool swap = header.big_endian && unit > 1, columns = header.fortran_order && real_axes > 1;
  if (header.data_bytes == 0 || (!swap && !columns)) {
    tensor.data = {owner, first};
    return tensor;
  }
  // The stride of an index is the product of the sizes that run faster.
  std::vector<std::int64_t> strides(header.shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    const std::size_t d = columns ? i : strides.size() - 1 - i;
    strides[d] = stride;
    stride *= header.shape[d];
  }
  std::shared_ptr<std::byte[]> memory(new std::byte[header.data_bytes]);
  copy_strided(first, unit, header.shape, strides, swap, memory.get());
  tensor.data = {memory, memory.get()};
  return tensor;
}

// Where arrays differ, all of their versions: "1.0, 2.0".
void note_version(const NpyHeader& header, Checkpoint& checkpoint) {
  const std::string version = fmt::format("{}.0", header.version);
  std::string& said = checkpoint.container["npy version"];
  if (said.find(version) == std::string::npos) said += (said.empty() ? "" : ", ") + version;
}

void add_array(std::string name, const std::shared_ptr<const MappedFile>& file, Checkpoint& checkpoint) {
  const NpyHeader header = read_npy_header(file->bytes(), file->path());
  checkpoint.tensors.push_back(make_tensor(std::move(name), header, file->bytes(), file, file->path()));
  note_version(header, checkpoint);
}

class NpzReader {
 public:
  explicit NpzReader(const std::shared_ptr<const MappedFile>& file, const ZipArchive& archive)
      : file_(file), archive_(archive), budget_(unfolding_budget(file->bytes().size())), left_(budget_) {}

  Checkpoint read() {
    Checkpoint checkpoint;
    checkpoint.path = file_->path();
    checkpoint.format = "numpy npz";
    std::vector<std::pair<std::string_view, ZipArchive::Record>> records(archive_.records().begin(),
                                                                         archive_.records().end());
    std::sort(records.begin(), records.end(),
              [](const auto& a, const auto& b) { return a.second.bytes.data() < b.second.bytes.data(); });
    for (const auto& [name, record] : records) {
      where_ = fmt::format("{}: record {}", file_->path(), quote(name));
      if (name.size() == suffix.size()) fail("the array has no name");
      if (record.encrypted) fail("is encrypted");
      std::string tensor(name.substr(0, name.size() - suffix.size()));
      if (record.method == 0) {
        const NpyHeader header = read_npy_header(record.bytes, where_);
        check_sum(record.bytes, record);
        checkpoint.tensors.push_back(make_tensor(std::move(tensor), header, record.bytes, file_, where_));
        note_version(header, checkpoint);
      } else if (record.method == 8) {
        unfold(std::move(tensor), record, checkpoint);
      } else {
        fail(fmt::format("is compressed by method {}; stored (0) and deflated (8) are read", record.method));
      }
    }
    return checkpoint;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(fmt::format("{}: {}", where_, what)); }

  // No memory is asked for before the array's own header, the directory and the budget agree on how much.
  void unfold(std::string name, const ZipArchive::Record& record, Checkpoint& checkpoint) {
    std::vector<std::byte> start(npy_prefix_size);
    start.resize(inflate_start(record.bytes, start, where_));
    start.resize(npy_header_size(start, where_));
    start.resize(inflate_start(record.bytes, start, where_));
    const NpyHeader header = read_npy_header(start, where_);
    const auto size = checked_add(std::uint64_t(header.size), header.data_bytes);
    if (!size || *size != record.plain) {
      fail(fmt::format("the archive says it unfolds to {} bytes, its npy header to {}", record.plain,
                       size ? std::to_string(*size) : "more than can be counted"));
    }
    if (*size > left_) {
      fail(fmt::format("unfolds to {} bytes, over the limit of {} for all of a file of {}", *size, budget_,
                       file_->bytes().size()));
    }
    left_ -= *size;
    std::shared_ptr<std::byte[]> memory(new std::byte[*size]);
    const std::span<std::byte> whole(memory.get(), *size);
    inflate_whole(record.bytes, whole, where_);
    check_sum(whole, record);
    checkpoint.tensors.push_back(make_tensor(std::move(name), header, whole, memory, where_));
    note_version(header, checkpoint);
  }

  void check_sum(std::span<const std::byte> bytes, const ZipArchive::Record& record) const {
    const auto sum = ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    if (sum != record.checksum) {
      fail(fmt::format("its bytes have checksum {:08x}, the archive says {:08x}; the file is damaged", sum,
                       record.checksum));
    }
  }

  std::shared_ptr<const MappedFile> file_;
  const ZipArchive& archive_;
  std::uint64_t budget_, left_;
  std::string where_;
};

}  // namespace

Checkpoint read_npy(const std::shared_ptr<const MappedFile>& file) {
  Checkpoint checkpoint;
  checkpoint.path = file->path();
  checkpoint.format = "numpy array";
  add_array(fs::path(file->path()).stem().string(), file, checkpoint);
  return checkpoint;
}

Checkpoint read_npy_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  std::vector<std::string> others;
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == suffix) {
        files.push_back(entry.path());
      } else {
        others.push_back(quote(entry.path().filename().string()));
      }
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(fmt::format("{}: cannot list the folder: {}", folder.string(), error.code().message()));
  }
  if (files.empty()) {
    throw Error(
        fmt::format("{}: is a folder without .npy files, expected a weight file or a folder of .npy files",
                    folder.string()));
  }
  // A folder has no order of its own that would be the same everywhere.
  std::sort(files.begin(), files.end());
  std::sort(others.begin(), others.end());
  Checkpoint checkpoint;
  checkpoint.path = folder.string();
  checkpoint.format = "numpy folder";
  for (const fs::path& path : files) {
    add_array(path.stem().string(), MappedFile::open(path), checkpoint);
  }
  if (!others.empty())
    checkpoint.notes.push_back(fmt::format("left out beside the arrays: {}", listed(others)));
  return checkpoint;
}

bool is_npz(const ZipArchive& archive) {
  const auto& records = archive.records();
  return !records.empty() && std::all_of(records.begin(), records.end(),
                                         [](const auto& record) { return record.first.ends_with(suffix); });
}

Checkpoint read_npz(const std::shared_ptr<const MappedFile>& file, const ZipArchive& archive) {
  return NpzReader(file, archive).read();
}

}  // namespace retrace::weights
