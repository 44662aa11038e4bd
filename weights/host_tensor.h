// A dense tensor in host memory as a weight file holds it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weights/dtype.h"

namespace retrace::weights {

// Row-major, without gaps, little-endian. Copies share the bytes, which may lie inside a file's (the
// pointer keeps them alive) and need not be aligned to the element size.
struct HostTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;  // empty for a scalar
  std::shared_ptr<const std::byte> data;

  // Elements, bytes. Throws Error if the shape's product does not fit or a size is negative.
  std::int64_t count() const;
  std::size_t byte_size() const;

  // The values as float, rounded to nearest even as PyTorch's `.float()` does; a bool is 0 or 1.
  std::vector<float> to_f32() const;

  // The values as double, exactly but for whole numbers beyond 2^53.
  std::vector<double> to_f64() const;

  // The first value that is no finite float: NaN, infinity, or a double beyond a float's range. None of an integer tensor.
  std::optional<double> first_not_finite() const;

  // A tensor of its own memory. Throws Error if the number of values is not the shape's.
  static HostTensor from_f32(std::string name, std::vector<std::int64_t> shape, std::vector<float> values);
};

// The tensor in another floating type (f32, f16 or bf16); itself, sharing the bytes, if it has that type.
// Values go through float as in PyTorch. Throws Error, naming the tensor and the value, if a finite value
// would become infinite, and if the tensor's type is not a floating one.
HostTensor convert(const HostTensor& tensor, DType type);

}  // namespace retrace::weights
