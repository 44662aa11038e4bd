#include "weights/tensor_to_write.h"

#include <fmt/format.h>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {

HostTensor TensorToWrite::stored(std::optional<DType> float_type) const {
  const HostTensor made = make();
  if (made.name != name || made.dtype != dtype || made.shape != shape) {
    throw Error(fmt::format("tensor {}: {} {} {} was made, expected {} {}", quote(name), quote(made.name),
                            dtype_name(made.dtype), shape_text(made.shape), dtype_name(dtype),
                            shape_text(shape)));
  }
  const DType type = stored_type(float_type);
  return type == dtype ? made : convert(made, type);
}

std::vector<TensorToWrite> to_write(std::span<const HostTensor> tensors) {
  std::vector<TensorToWrite> all;
  for (const HostTensor& tensor : tensors) all.emplace_back(tensor);
  return all;
}

}  // namespace retrace::weights
