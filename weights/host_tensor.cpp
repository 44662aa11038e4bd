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

// Calls use(i, value) for every element: f64 as double, the other floating types as float, integers as they are.
template <class Use>
void for_each_value(const HostTensor& tensor, Use use) {
  const auto by = [&](auto widen) { return [&use, widen](std::size_t i, auto v) { use(i, widen(v)); }; };
  switch (tensor.dtype) {
    case DType::f32:
      return for_each<float>(tensor, use);
    case DType::f64:
      return for_each<double>(tensor, use);
    case DType::f16:
      return for_each<std::uint16_t>(tensor, by(f16_to_f32));
    case DType::bf16:
      return for_each<std::uint16_t>(tensor, by(bf16_to_f32));
    case DType::f8_e4m3:
      return for_each<std::uint8_t>(tensor, by(f8_e4m3_to_f32));
    case DType::f8_e5m2:
      return for_each<std::uint8_t>(tensor, by(f8_e5m2_to_f32));
    case DType::i64:
      return for_each<std::int64_t>(tensor, use);
    case DType::i32:
      return for_each<std::int32_t>(tensor, use);
    case DType::i16:
      return for_each<std::int16_t>(tensor, use);
    case DType::i8:
      return for_each<std::int8_t>(tensor, use);
    case DType::u64:
      return for_each<std::uint64_t>(tensor, use);
    case DType::u32:
      return for_each<std::uint32_t>(tensor, use);
    case DType::u16:
      return for_each<std::uint16_t>(tensor, use);
    case DType::u8:
      return for_each<std::uint8_t>(tensor, use);
    case DType::boolean:
      return for_each<std::uint8_t>(tensor, by([](std::uint8_t v) { return v != 0 ? 1.f : 0.f; }));
  }
}

// Whether any element has all bits of `exponent`: infinities and NaN of the IEEE formats. Without a branch in the loop,
// so that it runs as fast as memory.
template <class T>
bool any_with(const HostTensor& tensor, T exponent) {
  T found = 0;
  for_each<T>(tensor, [&](std::size_t, T v) { found = T(found | T((v & exponent) == exponent)); });
  return found != 0;
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
  if (dtype == DType::f32) {
    if (!out.empty()) std::memcpy(out.data(), data.get(), out.size() * sizeof(float));
  } else {
    for_each_value(*this, [&](std::size_t i, auto v) { out[i] = static_cast<float>(v); });
  }
  return out;
}

std::vector<double> HostTensor::to_f64() const {
  std::vector<double> out(static_cast<std::size_t>(count()));
  for_each_value(*this, [&](std::size_t i, auto v) { out[i] = static_cast<double>(v); });
  return out;
}

std::optional<double> HostTensor::first_not_finite() const {
  if (!is_floating(dtype) || (dtype == DType::f32 && !any_with<std::uint32_t>(*this, 0x7f800000)) ||
      (dtype == DType::f16 && !any_with<std::uint16_t>(*this, 0x7c00)) ||
      (dtype == DType::bf16 && !any_with<std::uint16_t>(*this, 0x7f80))) {
    return std::nullopt;
  }
  std::optional<double> first;
  for_each_value(*this, [&](std::size_t, auto v) {
    if (!first && !std::isfinite(static_cast<float>(v))) first = static_cast<double>(v);
  });
  return first;
}

HostTensor HostTensor::from_f32(std::string name, std::vector<std::int64_t> shape,
                                std::vector<float> values) {
  HostTensor tensor{std::move(name), DType::f32, std::move(shape), nullptr};
  if (std::size_t(tensor.count()) != values.size()) {
    throw Error(fmt::format("tensor {}: {} values given, shape {} needs {}", quote(tensor.name),
                            values.size(), shape_text(tensor.shape), tensor.count()));
  }
  if (values.empty()) values.reserve(1);  // never read, but never null either
  const auto kept = std::make_shared<const std::vector<float>>(std::move(values));
  tensor.data = {kept, reinterpret_cast<const std::byte*>(kept->data())};
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

  const auto store = [&](auto narrow, auto is_infinite) {
    for_each_value(tensor, [&](std::size_t i, auto from) {
      const auto to = narrow(static_cast<float>(from));
      if (is_infinite(to) && std::isfinite(static_cast<double>(from))) {
        throw Error(fmt::format("tensor {}: value {:g} does not fit {}", quote(tensor.name), double(from),
                                dtype_name(type)));
      }
      std::memcpy(memory + i * sizeof(to), &to, sizeof(to));
    });
  };
  if (type == DType::f32) store([](float v) { return v; }, [](float v) { return std::isinf(v); });
  if (type == DType::f16) store(f32_to_f16, [](std::uint16_t v) { return (v & 0x7fffu) == 0x7c00u; });
  if (type == DType::bf16) store(f32_to_bf16, [](std::uint16_t v) { return (v & 0x7fffu) == 0x7f80u; });
  return out;
}

}  // namespace retrace::weights
