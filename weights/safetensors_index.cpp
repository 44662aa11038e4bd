// A network in several safetensors files, as Hugging Face's libraries save large ones: NAME.safetensors.index.json
//   {"metadata": {"total_size": N}, "weight_map": {TENSOR: FILE, …}}
// with the FILEs in the index's own folder. The map and the files must say the same.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/readers.h"
#include "weights/strict_json.h"

namespace retrace::weights {
namespace {

using nlohmann::json;

class Reader {
 public:
  explicit Reader(const std::shared_ptr<const MappedFile>& file) : file_(file) {}

  Checkpoint read() {
    const json index = parse_json_object(file_->bytes(), file_->path() + ": safetensors index", "the text");
    if (!index.contains("weight_map")) fail("has no weight_map; a JSON file of another kind?");
    read_map(index["weight_map"]);
    checkpoint_.path = file_->path();
    checkpoint_.format =
        fmt::format("safetensors in {} file{}", shards_.size(), shards_.size() == 1 ? "" : "s");
    for (const auto& [shard, count] : shards_) read_shard(shard, count);
    if (index.contains("metadata")) read_metadata(index["metadata"]);
    return std::move(checkpoint_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: safetensors index: {}", file_->path(), what));
  }

  void read_map(const json& map) {
    if (!map.is_object()) fail(fmt::format("weight_map is a JSON {}, expected an object", map.type_name()));
    for (const auto& [tensor, shard] : map.items()) {
      if (!shard.is_string()) {
        fail(fmt::format("tensor {} is mapped to a JSON {}, expected a file name", quote(tensor),
                         shard.type_name()));
      }
      const auto name = shard.get<std::string>();
      // Nothing outside the index's folder is opened, whoever wrote it.
      const bool plain =
          !name.empty() && name != "." && name != ".." && std::none_of(name.begin(), name.end(), [](char c) {
            return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
          });
      if (!plain) {
        fail(fmt::format("tensor {} is mapped to {}, expected the plain name of a file beside the index",
                         quote(tensor), quote(name)));
      }
      shard_of_.emplace(tensor, name);
      ++shards_[name];
    }
    if (shards_.empty()) fail("weight_map is empty");
  }

  void read_shard(const std::string& shard, std::size_t expected) {
    Checkpoint part;
    try {
      const auto path = std::filesystem::path(file_->path()).parent_path() / shard;
      part = read_safetensors(MappedFile::open(path));
    } catch (const Error& error) {
      fail(fmt::format("shard {}: {}", quote(shard), error.what()));
    }
    for (HostTensor& tensor : part.tensors) {
      const auto mapped = shard_of_.find(tensor.name);
      if (mapped == shard_of_.end()) {
        fail(fmt::format("tensor {} of shard {} is not in weight_map", quote(tensor.name), quote(shard)));
      }
      if (mapped->second.empty()) {
        fail(fmt::format("tensor {} of shard {} is in two shards", quote(tensor.name), quote(shard)));
      }
      if (mapped->second != shard) {
        fail(fmt::format("tensor {} is in shard {}, but weight_map says {}", quote(tensor.name), quote(shard),
                         quote(mapped->second)));
      }
      mapped->second.clear();  // found; a shard's names are unique, and no shard has an empty name
      checkpoint_.tensors.push_back(std::move(tensor));
    }
    if (part.tensors.size() != expected) {
      const auto missing = std::find_if(shard_of_.begin(), shard_of_.end(),
                                        [&](const auto& entry) { return entry.second == shard; });
      fail(fmt::format("tensor {} is not in shard {}, where weight_map says it is", quote(missing->first),
                       quote(shard)));
    }
    for (const auto& [key, value] : part.metadata) {
      const auto [known, fresh] = checkpoint_.metadata.emplace(key, value);
      if (!fresh && known->second != value) {
        checkpoint_.notes.push_back(
            fmt::format("metadata {} of shard {} differs and is left out", quote(key), quote(shard)));
      }
    }
  }

  void read_metadata(const json& metadata) {
    if (!metadata.is_object()) {
      fail(fmt::format("metadata is a JSON {}, expected an object", metadata.type_name()));
    }
    for (const auto& [key, value] : metadata.items()) {
      if (value.is_string()) checkpoint_.metadata.emplace(key, value.get<std::string>());
      if (value.is_number() || value.is_boolean()) checkpoint_.metadata.emplace(key, value.dump());
    }
    if (!metadata.contains("total_size")) return;
    // Not an error: indexes that count shared tensors twice or in another type are common, and nothing depends on it.
    std::uint64_t total = 0;
    for (const HostTensor& tensor : checkpoint_.tensors) total += tensor.byte_size();
    if (metadata["total_size"] != total) {
      checkpoint_.notes.push_back(fmt::format("the index says total_size {}, its tensors take {} bytes",
                                              quote(metadata["total_size"].dump()), total));
    }
  }

  std::shared_ptr<const MappedFile> file_;
  Checkpoint checkpoint_;
  std::map<std::string, std::string> shard_of_;  // by tensor
  std::map<std::string, std::size_t> shards_;    // and how many tensors are mapped to each
};

}  // namespace

bool is_safetensors_index(std::span<const std::byte> bytes) {
  const auto brace = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) {
    return b != std::byte{' '} && b != std::byte{'\t'} && b != std::byte{'\r'} && b != std::byte{'\n'};
  });
  if (brace == bytes.end() || *brace != std::byte{'{'}) return false;
  // A safetensors file whose header is 123 bytes long begins with a brace too; the length's upper bytes are zero, and
  // no text has those.
  const auto first = bytes.first(std::min<std::size_t>(bytes.size(), 8));
  return std::find(first.begin(), first.end(), std::byte{0}) == first.end();
}

Checkpoint read_safetensors_index(const std::shared_ptr<const MappedFile>& file) {
  return Reader(file).read();
}

}  // namespace retrace::weights
