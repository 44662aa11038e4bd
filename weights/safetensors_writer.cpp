#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "kernels/error.h"
#include "weights/atomic_file.h"
#include "weights/background_hash.h"
#include "weights/checked.h"
#include "weights/safetensors.h"
#include "weights/safetensors_types.h"

namespace retrace::weights {
namespace {

std::string_view type_name(DType type) {
  return std::find_if(safetensors_types.begin(), safetensors_types.end(),
                      [&](const auto& pair) { return pair.second == type; })
      ->first;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const HostTensor> tensors,
                       const SafetensorsOptions& options) {
  write_safetensors(path, to_write(tensors), options);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const SafetensorsOptions& options) {
  using nlohmann::ordered_json;
  const auto fail = [&](const std::string& what) { throw Error(fmt::format("{}: {}", path.string(), what)); };
  if (options.float_type && !is_export_type(*options.float_type)) {
    fail(fmt::format("cannot write as {}; f32, f16 and bf16 are offered", dtype_name(*options.float_type)));
  }

  struct Entry {
    const TensorToWrite* tensor;
    DType type;
    std::size_t begin, end;  // in the file, after the header
  };
  std::vector<Entry> entries;
  std::set<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__") {
      fail(fmt::format("a tensor cannot be named {}", quote(tensor.name)));
    }
    if (!names.insert(tensor.name).second) fail(fmt::format("two tensors are named {}", quote(tensor.name)));
    static_cast<void>(tensor.stored_bytes({}));  // refuses an impossible shape
    entries.push_back({&tensor, tensor.stored_type(options.float_type), 0, 0});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return dtype_size(a.type) > dtype_size(b.type); });

  ordered_json header = ordered_json::object();
  std::map<std::string, std::string> metadata = options.metadata;
  const std::string no_hash(64, '0');  // its place
  if (options.content_hash) metadata[content_sha256_key] = no_hash;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (Entry& entry : entries) {
    const auto end = checked_add(offset, entry.tensor->stored_bytes(options.float_type));
    if (!end) fail("the tensors are too large for one file");
    entry.begin = offset;
    entry.end = *end;
    header[entry.tensor->name] = {
        {"dtype", type_name(entry.type)}, {"shape", entry.tensor->shape}, {"data_offsets", {offset, *end}}};
    offset = *end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& error) {  // a name or metadata that is not UTF-8
    fail(fmt::format("cannot write the header: {}", quote(error.what())));
  }
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data begin at a multiple of 8
  if (text.size() > safetensors_max_header) {
    fail(fmt::format("the header takes {} bytes, the format allows {}", text.size(), safetensors_max_header));
  }

  AtomicFile file(path);
  const std::uint64_t length = text.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(text)));
  // The order in which a reader finds them, which is the hash's: it differs from ours for empty tensors only.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.tensor->name) < std::tie(b.begin, b.end, b.tensor->name);
  });
  std::optional<BackgroundHash> hash;
  if (options.content_hash) hash.emplace();
  constexpr std::size_t flush_step = std::size_t{8} << 20;
  std::size_t unflushed = 0;
  for (const Entry& entry : entries) {
    const HostTensor stored = entry.tensor->stored(options.float_type);
    if (hash) hash->add(stored);
    file.write({stored.data.get(), stored.byte_size()});
    // The disk works while the hash does.
    if ((unflushed += stored.byte_size()) >= flush_step) {
      file.begin_flush();
      unflushed = 0;
    }
  }
  if (hash) {
    file.begin_flush();
    // No value can look like this: in a JSON string, quotes are escaped.
    const std::string before = fmt::format("\"{}\":\"", content_sha256_key);
    const std::size_t at = text.find(before + no_hash + '"') + before.size();
    const std::string sum = hash->hex();
    file.overwrite(sizeof(length) + at, std::as_bytes(std::span(sum)));
  }
  file.commit();
}

}  // namespace retrace::weights
