#include "engine/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

namespace retrace {

namespace {

const char* type_name(ElementType type) {
  switch (type) {
    case ElementType::f32:
      return "f32";
    case ElementType::f64:
      return "f64";
    case ElementType::i32:
      return "i32";
    case ElementType::u8:
      return "u8";
  }
  return "?";
}

std::int64_t count(const Shape& shape) {
  std::int64_t size = 1;
  for (const std::int64_t d : shape) {
    if (d < 0 || (d > 0 && size > std::numeric_limits<std::int64_t>::max() / 8 / d)) {
      throw Error("tensor of shape " + to_string(shape) + ": dimensions must not be negative nor overflow");
    }
    size *= d;
  }
  return size;
}

template <class T>
Tensor upload(Device& device, Shape shape, const std::vector<T>& values, ElementType type) {
  Tensor tensor(device, std::move(shape), type);
  if (std::int64_t(values.size()) != tensor.size()) {
    throw Error(fmt::format("tensor of shape {}: {} values given, {} needed", to_string(tensor.shape()),
                            values.size(), tensor.size()));
  }
  if (!values.empty()) device.upload(tensor.raw(), values.data(), tensor.bytes());
  return tensor;
}

}  // namespace

std::size_t element_size(ElementType type) {
  switch (type) {
    case ElementType::f64:
      return 8;
    case ElementType::u8:
      return 1;
    default:
      return 4;
  }
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Tensor::Tensor(Device& device, Shape shape, ElementType type)
    : device_(&device), shape_(std::move(shape)), type_(type), size_(count(shape_)) {
  buffer_ = std::make_shared<Buffer>(device, bytes());
}

Tensor Tensor::from_host(Device& device, Shape shape, const std::vector<float>& values) {
  return upload(device, std::move(shape), values, ElementType::f32);
}
Tensor Tensor::from_host(Device& device, Shape shape, const std::vector<std::int32_t>& values) {
  return upload(device, std::move(shape), values, ElementType::i32);
}
Tensor Tensor::from_host(Device& device, Shape shape, const std::vector<std::uint8_t>& values) {
  return upload(device, std::move(shape), values, ElementType::u8);
}

Tensor Tensor::reshape(Shape shape) const {
  if (count(shape) != size_) {
    throw Error("tensor of shape " + to_string(shape_) + " cannot be reshaped to " + to_string(shape));
  }
  Tensor other = *this;
  other.shape_ = std::move(shape);
  return other;
}

Tensor Tensor::slice(std::int64_t first, Shape shape) const {
  const std::int64_t size = count(shape);
  if (first < 0 || first > size_ || size > size_ - first) {
    throw Error(
        fmt::format("tensor of shape {} has no elements {} to {}", to_string(shape_), first, first + size));
  }
  Tensor other = *this;
  other.shape_ = std::move(shape);
  other.size_ = size;
  other.offset_ += std::size_t(first) * element_size(type_);
  return other;
}

void Tensor::check_type(ElementType wanted) const {
  if (wanted != type_) {
    throw Error(fmt::format("tensor of shape {}: it holds {}, asked for {}", to_string(shape_),
                            type_name(type_), type_name(wanted)));
  }
}

}  // namespace retrace
