// Writing safetensors files.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "weights/tensor_to_write.h"

namespace retrace::weights {

struct SafetensorsOptions {
  // Floating tensors are converted to this type (f32, f16 or bf16), see convert(); integers stay as they are.
  // Without it every tensor keeps its type.
  std::optional<DType> float_type;
  std::map<std::string, std::string> metadata;  // becomes __metadata__; must be UTF-8
  bool content_hash = false;  // adds the entry content_sha256 (sha256.h) of the contents as they are stored
};

// Writes `tensors` as one safetensors file at `path`. In the file they are ordered by element size, largest
// first, so that each is aligned, and otherwise as given. They are made in the order of the file, each once, and at most
// three are held at a time.
// `path` holds the old file or the new one, on the disk, never a part (see atomic_file.h). It is safe to write over
// the file the tensors were read from. Throws Error, naming the file or tensor, if a name is empty, double or
// "__metadata__", a value does not fit the type, or the file cannot be written.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const SafetensorsOptions& options = {});
void write_safetensors(const std::filesystem::path& path, std::span<const HostTensor> tensors,
                       const SafetensorsOptions& options = {});

}  // namespace retrace::weights
