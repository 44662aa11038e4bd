#include "weights/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/error.h"
#include "weights/mapped_file.h"
#include "weights/names.h"
#include "weights/readers.h"

namespace retrace::weights {
namespace {

bool has(std::span<const std::byte> bytes, std::size_t at, std::string_view magic) {
  return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

// What a file of no known format most likely is; the common mishaps deserve their own words.
std::string describe(std::span<const std::byte> bytes) {
  using namespace std::string_view_literals;
  if (has(bytes, 0, "PK\x05\x06"sv)) return "an empty zip archive";
  if (has(bytes, 0, "version https://git-lfs"sv)) {
    return "a Git LFS pointer, not the file itself (fetch it with git lfs pull)";
  }
  if (has(bytes, 0, "<!DOCTYPE"sv) || has(bytes, 0, "<!doctype"sv) || has(bytes, 0, "<html"sv)) {
    return "an HTML page (a failed download?)";
  }
  if (has(bytes, 0, "\x89HDF"sv)) return "an HDF5 file";
  if (has(bytes, 0, "GGUF"sv)) return "a GGUF file";
  if (has(bytes, 0, "\x1f\x8b"sv)) return "gzip-compressed data (decompress it first)";
  if (bytes.size() >= 2 && bytes[0] == std::byte{0x80} && bytes[1] <= std::byte{5}) {
    return "a pickle, but not one that torch.save wrote";
  }
  std::string hex;
  for (const std::byte b : bytes.first(std::min<std::size_t>(bytes.size(), 8))) {
    hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", std::to_integer<int>(b));
  }
  return fmt::format("data of unknown format (first bytes {})", hex);
}

enum class Kind : unsigned char { safetensors, safetensors_index, zip, torch_legacy, torch_tar, npy, onnx };

// Needs no more than MappedFile::start_size bytes. Throws Error if it is none of these.
Kind kind_of(std::span<const std::byte> bytes, const std::string& name) {
  if (has(bytes, 0, "PK\x03\x04")) return Kind::zip;
  if (has(bytes, 257, "ustar")) return Kind::torch_tar;
  if (is_torch_legacy(bytes)) return Kind::torch_legacy;
  if (has(bytes, 0, "\x93NUMPY")) return Kind::npy;
  if (is_onnx(bytes)) return Kind::onnx;
  if (is_safetensors_index(bytes)) return Kind::safetensors_index;
  // safetensors has no magic of its own: eight bytes of length, then the header's opening brace.
  if (has(bytes, 8, "{")) return Kind::safetensors;
  throw Error(fmt::format("{}: is {}; expected safetensors, a PyTorch checkpoint, ONNX or NumPy arrays", name,
                          describe(bytes)));
}

Checkpoint read_container(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return read_npy_folder(path);
  const auto file = MappedFile::open(path, [&](auto start) { (void)kind_of(start, name); });
  switch (kind_of(file->bytes(), name)) {
    case Kind::zip: {
      ZipArchive archive(file->bytes(), file->path());
      return is_npz(archive) ? read_npz(file, archive) : read_torch_zip(file, std::move(archive));
    }
    case Kind::torch_tar:
      return read_torch_tar(file);
    case Kind::npy:
      return read_npy(file);
    case Kind::torch_legacy:
      return read_torch_legacy(file);
    case Kind::onnx:
      return read_onnx(file);
    case Kind::safetensors_index:
      return read_safetensors_index(file);
    case Kind::safetensors:
      break;
  }
  return read_safetensors(file);
}

}  // namespace

const HostTensor* Checkpoint::find(std::string_view name) const {
  const auto at = std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
  return at == tensors.end() ? nullptr : &*at;
}

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  Checkpoint checkpoint = read_container(path);
  set_averaged_apart(checkpoint);
  return checkpoint;
}

}  // namespace retrace::weights
