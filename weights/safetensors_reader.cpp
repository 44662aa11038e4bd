// safetensors: u64 header length, JSON header, the tensors' bytes.
//   {"__metadata__": {text: text}, NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, …}
// Offsets count from the header's end; the tensors must cover the rest of the file exactly.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/readers.h"
#include "weights/safetensors_types.h"
#include "weights/strict_json.h"

namespace retrace::weights {
namespace {

using nlohmann::json;

class Reader {
 public:
  explicit Reader(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}

  Checkpoint read() {
    const auto bytes = file_->bytes();
    std::uint64_t length = 0;
    if (bytes.size() < sizeof(length)) fail(fmt::format("{} bytes hold no header", bytes.size()));
    std::memcpy(&length, bytes.data(), sizeof(length));
    if (length > safetensors_max_header) {
      fail(fmt::format("header length {} is over the format's limit of {}", length, safetensors_max_header));
    }
    if (length > bytes.size() - sizeof(length)) {
      fail(fmt::format("header length {} exceeds the file's {} bytes", length, bytes.size()));
    }
    body_ = bytes.subspan(sizeof(length) + length);
    const auto text = bytes.subspan(sizeof(length), length);
    // The format wants the brace first; JSON would allow white space before it.
    if (text.empty() || text[0] != std::byte{'{'}) fail("header does not begin with '{'");
    Checkpoint checkpoint;
    checkpoint.path = file_->path();
    checkpoint.format = "safetensors";
    parse_json_object(text, file_->path() + ": safetensors", "header",
                      [&](const std::string& name, const json& value) {
                        if (name == "__metadata__") {
                          read_metadata(value, checkpoint);
                        } else {
                          read_entry(name, value);
                        }
                      });
    place(checkpoint);
    return checkpoint;
  }

 private:
  struct Entry {
    HostTensor tensor;
    std::uint64_t begin = 0, end = 0;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("{}: safetensors: {}", file_->path(), what));
  }

  void read_metadata(const json& value, Checkpoint& checkpoint) const {
    if (!value.is_object()) {
      fail(fmt::format("__metadata__ is a JSON {}, expected an object of strings", value.type_name()));
    }
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) {
        fail(fmt::format("__metadata__ {} is a JSON {}, expected a string", quote(key), text.type_name()));
      }
      checkpoint.metadata[key] = text.get<std::string>();
    }
  }

  void read_entry(const std::string& name, const json& value) {
    const auto refuse = [&](const std::string& what) {
      fail(fmt::format("tensor {}: {}", quote(name), what));
    };
    if (!value.is_object()) refuse(fmt::format("is a JSON {}, expected an object", value.type_name()));
    for (const auto& [key, unused] : value.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        refuse(fmt::format("unknown field {}; expected dtype, shape and data_offsets", quote(key)));
      }
    }
    for (const char* key : {"dtype", "shape", "data_offsets"}) {
      if (!value.contains(key)) refuse(fmt::format("has no {}", key));
    }

    Entry entry;
    entry.tensor.name = name;
    const json& type = value["dtype"];
    if (!type.is_string()) refuse(fmt::format("dtype is a JSON {}, expected a string", type.type_name()));
    const auto type_text = type.get<std::string>();
    const auto known = std::find_if(safetensors_types.begin(), safetensors_types.end(),
                                    [&](const auto& pair) { return pair.first == type_text; });
    if (known == safetensors_types.end()) {
      const bool named = std::find(safetensors_types_not_read.begin(), safetensors_types_not_read.end(),
                                   type_text) != safetensors_types_not_read.end();
      std::string known_names;
      for (const auto& [known_name, unused] : safetensors_types)
        known_names += fmt::format("{} ", known_name);
      refuse(fmt::format("dtype {} {}; {}are", quote(type_text),
                         named ? "is not supported" : "is not one of the format's", known_names));
    }
    entry.tensor.dtype = known->second;

    const std::vector<std::uint64_t> shape = numbers(value["shape"], name, "shape");
    for (const std::uint64_t size : shape) {
      if (size > std::uint64_t(INT64_MAX)) refuse(fmt::format("shape holds {}, which is too large", size));
      entry.tensor.shape.push_back(std::int64_t(size));
    }
    const std::vector<std::uint64_t> offsets = numbers(value["data_offsets"], name, "data_offsets");
    if (offsets.size() != 2) refuse(fmt::format("data_offsets has {} numbers, expected 2", offsets.size()));
    entry.begin = offsets[0];
    entry.end = offsets[1];
    if (entry.begin > entry.end || entry.end > body_.size()) {
      refuse(fmt::format("data_offsets [{}, {}] do not lie in the {} bytes after the header", entry.begin,
                         entry.end, body_.size()));
    }

    const auto count = element_count(entry.tensor.shape);
    const auto bytes = count
                           ? checked_mul(std::uint64_t(*count), std::uint64_t(dtype_size(entry.tensor.dtype)))
                           : std::nullopt;
    if (!bytes || *bytes != entry.end - entry.begin) {
      refuse(fmt::format("data_offsets span {} bytes, shape {} of {} needs {}", entry.end - entry.begin,
                         shape_text(entry.tensor.shape), type_text,
                         bytes ? std::to_string(*bytes) : "more than can be counted"));
    }
    entries_.push_back(std::move(entry));
  }

  std::vector<std::uint64_t> numbers(const json& value, const std::string& name, const char* field) const {
    if (!value.is_array()) {
      fail(fmt::format("tensor {}: {} is a JSON {}, expected an array", quote(name), field,
                       value.type_name()));
    }
    constexpr std::size_t most = 64;  // PyTorch's and NumPy's limit
    if (value.size() > most) {
      fail(fmt::format("tensor {}: {} has {} numbers, at most {} are read", quote(name), field, value.size(),
                       most));
    }
    std::vector<std::uint64_t> out;
    for (const json& number : value) {
      if (!number.is_number_unsigned()) {
        fail(fmt::format("tensor {}: {} holds {}, expected whole numbers from 0", quote(name), field,
                         quote(number.dump())));
      }
      out.push_back(number.get<std::uint64_t>());
    }
    return out;
  }

  // Checks that the tensors cover the body without hole or overlap, and points them at their bytes.
  void place(Checkpoint& checkpoint) {
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
    });
    std::uint64_t covered = 0;
    for (Entry& entry : entries_) {
      if (entry.begin != covered) {
        fail(fmt::format("tensor {} begins at byte {}, but the tensors before it end at {} ({})",
                         quote(entry.tensor.name), entry.begin, covered,
                         entry.begin < covered ? "they overlap" : "there is a hole"));
      }
      covered = entry.end;
      entry.tensor.data = {file_, body_.data() + entry.begin};
      checkpoint.tensors.push_back(std::move(entry.tensor));
    }
    if (covered != body_.size()) {
      fail(fmt::format("the tensors end at byte {} of {} after the header", covered, body_.size()));
    }
  }

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> body_;
  std::vector<Entry> entries_;
};

}  // namespace

Checkpoint read_safetensors(const std::shared_ptr<const MappedFile>& file) {
  return Reader(file).read();
}

}  // namespace retrace::weights
