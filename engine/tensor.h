// A dense array on a device: shape, element type, shared memory.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"

namespace retrace {

enum class ElementType : std::uint8_t { f32, f64, i32, u8 };
std::size_t element_size(ElementType type);

using Shape = std::vector<std::int64_t>;
std::string to_string(const Shape& shape);  // "[2, 8, 8, 16]"

// Copies share the memory; it is released with the last of them. The device must outlive every tensor on it.
class Tensor {
 public:
  Tensor() = default;
  Tensor(Device& device, Shape shape, ElementType type = ElementType::f32);
  // The values, row-major, moved to the device.
  static Tensor from_host(Device& device, Shape shape, const std::vector<float>& values);
  static Tensor from_host(Device& device, Shape shape, const std::vector<std::int32_t>& values);
  static Tensor from_host(Device& device, Shape shape, const std::vector<std::uint8_t>& values);

  explicit operator bool() const { return buffer_ != nullptr; }
  Device& device() const { return *device_; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(std::size_t i) const { return shape_.at(i); }
  ElementType type() const { return type_; }
  std::int64_t size() const { return size_; }
  std::size_t bytes() const { return std::size_t(size_) * element_size(type_); }

  // The memory as T; throws Error if T is not the element type.
  template <class T = float>
  T* data() const {
    check_type(type_of<T>());
    return static_cast<T*>(raw());
  }
  void* raw() const { return buffer_ ? static_cast<std::byte*>(buffer_->data()) + offset_ : nullptr; }
  // Waits for everything issued before.
  template <class T = float>
  std::vector<T> to_host() const {
    check_type(type_of<T>());
    std::vector<T> values(static_cast<std::size_t>(size_));
    if (size_) device_->download(values.data(), raw(), bytes());
    return values;
  }
  // The same memory under another shape of the same size.
  Tensor reshape(Shape shape) const;
  // A view of the elements from `first` on, under a shape of its own; writing to it writes to this tensor.
  Tensor slice(std::int64_t first, Shape shape) const;

 private:
  template <class T>
  static constexpr ElementType type_of() {
    if constexpr (std::is_same_v<T, float>)
      return ElementType::f32;
    else if constexpr (std::is_same_v<T, double>)
      return ElementType::f64;
    else if constexpr (std::is_same_v<T, std::int32_t>)
      return ElementType::i32;
    else {
      static_assert(std::is_same_v<T, std::uint8_t>, "no tensor holds this type");
      return ElementType::u8;
    }
  }
  void check_type(ElementType wanted) const;

  Device* device_ = nullptr;
  Shape shape_;
  ElementType type_ = ElementType::f32;
  std::int64_t size_ = 0;
  std::size_t offset_ = 0;  // bytes into the buffer
  std::shared_ptr<Buffer> buffer_;
};

}  // namespace retrace
