#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/error.h"
#include "weights/atomic_file.h"
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
  using nlohmann::ordered_json;
  const auto fail = [&](const std::string& what) { throw Error(fmt::format("{}: {}", path.string(), what)); };
  if (options.float_type && !is_export_type(*options.float_type)) {
    fail(fmt::format("cannot write as {}; f32, f16 and bf16 are offered", dtype_name(*options.float_type)));
  }

  struct Entry {
    const HostTensor* tensor;
    DType type;
    std::size_t bytes;
  };
  std::vector<Entry> entries;
  std::set<std::string_view> names;
  for (const HostTensor& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__") {
      fail(fmt::format("a tensor cannot be named {}", quote(tensor.name)));
    }
    if (!names.insert(tensor.name).second) fail(fmt::format("two tensors are named {}", quote(tensor.name)));
    const bool converted = options.float_type && is_floating(tensor.dtype);
    const DType type = converted ? *options.float_type : tensor.dtype;
    static_cast<void>(tensor.byte_size());  // refuses an impossible shape
    entries.push_back({&tensor, type, std::size_t(tensor.count()) * dtype_size(type)});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return dtype_size(a.type) > dtype_size(b.type); });

  ordered_json header = ordered_json::object();
  if (!options.metadata.empty()) header["__metadata__"] = options.metadata;
  std::size_t offset = 0;
  for (const Entry& entry : entries) {
    const auto end = checked_add(offset, entry.bytes);
    if (!end) fail("the tensors are too large for one file");
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
  for (const Entry& entry : entries) {
    const HostTensor stored =
        entry.type == entry.tensor->dtype ? *entry.tensor : convert(*entry.tensor, entry.type);
    file.write({stored.data.get(), entry.bytes});
  }
  file.commit();
}

}  // namespace retrace::weights
