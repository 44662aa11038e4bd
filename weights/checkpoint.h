// Reading weight files: what the field ships, without Python and without executing anything.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weights/host_tensor.h"

namespace retrace::weights {

struct OnnxGraph;  // weights/onnx_graph.h

struct Checkpoint {
  std::string path;
  // "safetensors", "safetensors in N files", "pytorch zip", "pytorch legacy", "pytorch tar", "torchscript", "onnx", "numpy array",
  // "numpy folder" or "numpy npz"
  std::string format;
  std::vector<HostTensor> tensors;  // in the file's order; names are unique
  // safetensors: its __metadata__. PyTorch: numbers and strings that stood beside the weights (epoch …).
  std::map<std::string, std::string> metadata;
  // What was done to get at the weights, one sentence each: wrapper keys followed, prefixes removed, entries
  // left out.
  std::vector<std::string> notes;
  // A second set of weights, averaged over the training (EMA), where the file has both; see take_averaged() in
  // weights/names.h.
  std::vector<HostTensor> averaged;
  std::string averaged_from;  // "entry 'model_ema'", "prefix 'ema.'"
  // What the container says of itself: "version", ".format_version" and "byteorder" of a PyTorch zip, "class" of the module
  // in a TorchScript program, "protocol" of the older ones, "npy version" of NumPy's; "ir_version", "opset" and "producer"
  // of ONNX. A safetensors file has no version.
  std::map<std::string, std::string> container;

  // ONNX: what is computed from the tensors, whose names are of less use than their places there.
  std::shared_ptr<const OnnxGraph> graph;

  const HostTensor* find(std::string_view name) const;  // null if there is none
};

// Reads a safetensors file; several, by their index; what `torch.save` writes (zip container, the older stream of
// pickles or the oldest tar) for a state dict, also wrapped in dictionaries as training scripts do; what
// `torch.jit.save` writes; an ONNX file; a NumPy array, an
// .npz archive, or a folder of .npy files. The format is told by the file's first bytes. Tensors point into the file's
// bytes where they lie there contiguously. Throws Error, naming the file and what was found, for a file that cannot be
// read, is of another format, is damaged or inconsistent, refers to a Python name outside the known few, or would
// unfold to much more than its own size.
Checkpoint read_checkpoint(const std::filesystem::path& path);

// The network that ships with Retrace: trained by it on scenes (weights/demo/README.md), part of every program.
Checkpoint demo_checkpoint();

}  // namespace retrace::weights
