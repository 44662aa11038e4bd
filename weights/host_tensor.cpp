#include "weights/host_tensor.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/error.h"
#include "weights/checked.h"
#include "weights/float_formats.h"

namespace retrace::weights {

static_assert(std::endian::native == std::endian::little, "weight files are read as little-endian memory");

namespace {

// Calls use(i, value) for every element, read as T.
template <class T, class Use>
void for_each(const HostTensor& tensor, Use use) {
  const std::byte* at = tensor.data.get();
  const std::int64_t n = tensor.count();
  for (std::int64_t i = 0; i < n; ++i, at += sizeof(T)) {
    T value;
    std::memcpy(&value, at, sizeof(T));  // the bytes may be unaligned
    use(std::size_t(i), value);
  }
}

template <class T>
void widen(const HostTensor& tensor, std::vector<float>& out) {
  for_each<T>(tensor, [&](std::size_t i, T value) { out[i] = static_cast<float>(value); });
}

std::shared_ptr<const std::byte> own(std::size_t bytes, std::byte*& memory) {
  std::shared_ptr<std::byte[]> block(new std::byte[bytes ? bytes : 1]);
  memory = block.get();
  return {block, block.get()};
}

}  // namespace

std::int64_t HostTensor::count() const {
  const auto n = element_count(shape);
  if (!n) throw Error(fmt::format("tensor {}: shape {} is not possible", quote(name), shape_text(shape)));
  return *n;
}

std::size_t HostTensor::byte_size() const {
  const auto bytes = checked_mul(std::size_t(count()), dtype_size(dtype));
  if (!bytes) {
    throw Error(fmt::format("tensor {}: shape {} of {} is too large", quote(name), shape_text(shape),
                            dtype_name(dtype)));
  }
  return *bytes;
}

std::vector<float> HostTensor::to_f32() const {
  std::vector<float> out(static_cast<std::size_t>(count()));
  switch (dtype) {
    case DType::f32:
      if (!out.empty()) std::memcpy(out.data(), data.get(), out.size() * sizeof(float));
      break;
    case DType::f64:
      widen<double>(*this, out);
      break;
    case DType::f16:
      for_each<std::uint16_t>(*this, [&](std::size_t i, std::uint16_t v) { out[i] = f16_to_f32(v); });
      break;
    case DType::bf16:
      for_each<std::uint16_t>(*this, [&](std::size_t i, std::uint16_t v) { out[i] = bf16_to_f32(v); });
      break;
    case DType::f8_e4m3:
      for_each<std::uint8_t>(*this, [&](std::size_t i, std::uint8_t v) { out[i] = f8_e4m3_to_f32(v); });
      break;
    case DType::f8_e5m2:
      for_each<std::uint8_t>(*this, [&](std::size_t i, std::uint8_t v) { out[i] = f8_e5m2_to_f32(v); });
      break;
    case DType::i64:
      widen<std::int64_t>(*this, out);
      break;
    case DType::i32:
      widen<std::int32_t>(*this, out);
      break;
    case DType::i16:
      widen<std::int16_t>(*this, out);
      break;
    case DType::i8:
      widen<std::int8_t>(*this, out);
      break;
    case DType::u64:
      widen<std::uint64_t>(*this, out);
      break;
    case DType::u32:
      widen<std::uint32_t>(*this, out);
      break;
    case DType::u16:
      widen<std::uint16_t>(*this, out);
      break;
    case DType::u8:
      widen<std::uint8_t>(*this, out);
      break;
    case DType::boolean:
      for_each<std::uint8_t>(*this, [&](std::size_t i, std::uint8_t v) { out[i] = v != 0 ? 1.f : 0.f; });
      break;
  }
  return out;
}

HostTensor HostTensor::from_f32(std::string name, std::vector<std::int64_t> shape,
                                const std::vector<float>& values) {
  HostTensor tensor{std::move(name), DType::f32, std::move(shape), nullptr};
  if (std::size_t(tensor.count()) != values.size()) {
    throw Error(fmt::format("tensor {}: {} values given, shape {} needs {}", quote(tensor.name),
                            values.size(), shape_text(tensor.shape), tensor.count()));
  }
  std::byte* memory = nullptr;
  tensor.data = own(tensor.byte_size(), memory);
  if (!values.empty()) std::memcpy(memory, values.data(), tensor.byte_size());
  return tensor;
}

HostTensor convert(const HostTensor& tensor, DType type) {
  if (!is_floating(tensor.dtype) || !is_export_type(type)) {
    throw Error(fmt::format("tensor {}: cannot convert {} to {}; floating types to f32, f16 or bf16 only",
                            quote(tensor.name), dtype_name(tensor.dtype), dtype_name(type)));
  }
  if (tensor.dtype == type) return tensor;
  HostTensor out{tensor.name, type, tensor.shape, nullptr};
  std::byte* memory = nullptr;
  out.data = own(out.byte_size(), memory);

  const auto check = [&](double from, float to) {
    if (std::isinf(to) && std::isfinite(from)) {
      throw Error(
          fmt::format("tensor {}: value {:g} does not fit {}", quote(tensor.name), from, dtype_name(type)));
    }
  };
  const auto store = [&](std::size_t i, double from, float value) {
    if (type == DType::f32) {
      check(from, value);
      std::memcpy(memory + i * sizeof(float), &value, sizeof(float));
      return;
    }
    const std::uint16_t narrow = type == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
    check(from, type == DType::f16 ? f16_to_f32(narrow) : bf16_to_f32(narrow));
    std::memcpy(memory + i * sizeof(narrow), &narrow, sizeof(narrow));
  };
  if (tensor.dtype == DType::f64) {
    for_each<double>(tensor, [&](std::size_t i, double v) { store(i, v, static_cast<float>(v)); });
  } else {
    const std::vector<float> values = tensor.to_f32();
    for (std::size_t i = 0; i < values.size(); ++i) store(i, values[i], values[i]);
  }
  return out;
}

}  // namespace retrace::weights
