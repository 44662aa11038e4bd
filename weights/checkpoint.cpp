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
  if (has(bytes, 257, "ustar")) {
    return "a tar archive; if PyTorch 0.1.9 or older wrote it, load it there or in a newer PyTorch and save "
           "it "
           "again, for this oldest container is not read";
  }
  if (has(bytes, 0, "PK\x05\x06"sv)) return "an empty zip archive";
  if (has(bytes, 0, "version https://git-lfs"sv)) {
    return "a Git LFS pointer, not the file itself (fetch it with git lfs pull)";
  }
  if (has(bytes, 0, "<!DOCTYPE"sv) || has(bytes, 0, "<!doctype"sv) || has(bytes, 0, "<html"sv)) {
    return "an HTML page (a failed download?)";
  }
  if (has(bytes, 0, "\x89HDF"sv)) return "an HDF5 file";
  if (has(bytes, 0, "\x93NUMPY"sv)) return "a NumPy array";
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

Checkpoint read_container(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (has(bytes, 0, "PK\x03\x04")) return read_torch_zip(file);
  if (is_torch_legacy(bytes)) return read_torch_legacy(file);
  // safetensors has no magic of its own: eight bytes of length, then the header's opening brace.
  if (has(bytes, 8, "{")) return read_safetensors(file);
  throw Error(
      fmt::format("{}: is {}; expected safetensors or a PyTorch checkpoint", file->path(), describe(bytes)));
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
