// The readers behind read_checkpoint, one per container. Each is given a file that begins with its magic, or a folder.
#pragma once
#include <filesystem>
#include <memory>

#include "weights/checkpoint.h"
#include "weights/mapped_file.h"
#include "weights/zip_archive.h"

namespace retrace::weights {

// Format: https://github.com/huggingface/safetensors (README, "Format").
Checkpoint read_safetensors(const std::shared_ptr<const MappedFile>& file);
// Several safetensors files and the JSON index that names them, which is `file`; the others lie beside it.
Checkpoint read_safetensors_index(const std::shared_ptr<const MappedFile>& file);
// torch.save since PyTorch 1.6: a zip archive of stored records: NAME/data.pkl, NAME/data/KEY. `archive` is `file`'s.
// torch.jit.save's, too.
Checkpoint read_torch_zip(const std::shared_ptr<const MappedFile>& file, ZipArchive archive);
// torch.save before 0.1.10: a tar archive.
Checkpoint read_torch_tar(const std::shared_ptr<const MappedFile>& file);
// Format: NEP 1. One array, named like the file without ".npy".
Checkpoint read_npy(const std::shared_ptr<const MappedFile>& file);
// The arrays of all .npy files in the folder, in the order of their names; folders in it are not looked into.
Checkpoint read_npy_folder(const std::filesystem::path& folder);
// numpy.savez and savez_compressed: a zip archive of .npy files, stored or deflated; `archive` is `file`'s.
Checkpoint read_npz(const std::shared_ptr<const MappedFile>& file, const ZipArchive& archive);
// torch.save from 0.1.10 to 1.5 (and later on request): pickles of a magic number, the protocol, the system,
// the object and the storages' keys; then the storages.
Checkpoint read_torch_legacy(const std::shared_ptr<const MappedFile>& file);

// Format: https://onnx.ai/onnx/repo-docs/IR.html. External data lies beneath the file's own folder.
Checkpoint read_onnx(const std::shared_ptr<const MappedFile>& file);

// Whether the bytes begin like a ModelProto: ir_version, then fields of its own, as far as the first
// MappedFile::start_size bytes go. No safetensors file does: the zeros in its header's length are no field.
bool is_onnx(std::span<const std::byte> bytes);
// Whether the bytes begin like a JSON object: no other text is read here.
bool is_safetensors_index(std::span<const std::byte> bytes);
// Whether there are records and all are .npy files.
bool is_npz(const ZipArchive& archive);
// Whether the bytes begin like a torch legacy stream: a pickle of its magic number, protocol 2 to 5.
bool is_torch_legacy(std::span<const std::byte> bytes);

}  // namespace retrace::weights
