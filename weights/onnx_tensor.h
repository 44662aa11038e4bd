// One TensorProto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "weights/host_tensor.h"
#include "weights/protobuf.h"

namespace retrace::weights {

// Where a tensor's bytes lie in another file.
struct OnnxExternal {
  std::string location;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
};

struct OnnxTensor {
  HostTensor tensor;                     // without data if it is external
  std::optional<OnnxExternal> external;  // its element type and shape are possible
};

class OnnxTensorReader {
 public:
  // `file` keeps the bytes that tensors point into. `budget`: how many bytes those that must be copied may take.
  OnnxTensorReader(std::shared_ptr<const void> file, std::uint64_t budget)
      : file_(std::move(file)), budget_(budget), left_(budget) {}

  // `message` is read twice, so it is taken by value. Throws Error naming the tensor for a type that is not read, an
  // impossible shape, and values that are not as many as the shape says.
  OnnxTensor read(ProtoReader message);

 private:
  void read_typed_data(HostTensor& tensor, ProtoReader message, std::uint32_t field,
                       const std::string& title);

  std::shared_ptr<const void> file_;
  std::uint64_t budget_, left_;
};

}  // namespace retrace::weights
