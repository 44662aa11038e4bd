// What the writers of weight files take.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "weights/host_tensor.h"

namespace retrace::weights {

// A tensor that is made when its turn comes to be written, and given up afterwards: of a checkpoint that is converted,
// only a few tensors are in memory at a time.
struct TensorToWrite {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::function<HostTensor()> make;  // of that name, type and shape; called once

  TensorToWrite(std::string name_of, DType type, std::vector<std::int64_t> sizes,
                std::function<HostTensor()> how)
      : name(std::move(name_of)), dtype(type), shape(std::move(sizes)), make(std::move(how)) {}
  explicit TensorToWrite(const HostTensor& tensor)
      : TensorToWrite(tensor.name, tensor.dtype, tensor.shape, [tensor] { return tensor; }) {}

  // The type it has in the file, where floating tensors are converted to `float_type`.
  DType stored_type(std::optional<DType> float_type) const {
    return float_type && is_floating(dtype) ? *float_type : dtype;
  }
  // Throws Error if the shape is not possible.
  std::size_t stored_bytes(std::optional<DType> float_type) const {
    return HostTensor{name, stored_type(float_type), shape, nullptr}.byte_size();
  }
  // make(), of the stored type (see convert()). Throws Error if what was made is not what was announced.
  HostTensor stored(std::optional<DType> float_type) const;
};

std::vector<TensorToWrite> to_write(std::span<const HostTensor> tensors);

}  // namespace retrace::weights
