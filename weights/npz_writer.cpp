#include "weights/npz_writer.h"

#include <fmt/format.h>

#include <set>
#include <string>

#include "kernels/error.h"
#include "weights/atomic_file.h"
#include "weights/checked.h"
#include "weights/strict_json.h"
#include "weights/zip_writer.h"

namespace retrace::weights {
namespace {

// NumPy's name of the type; empty if it has none.
std::string descr(DType type) {
  switch (type) {
    case DType::f64:
      return "<f8";
    case DType::f32:
      return "<f4";
    case DType::f16:
      return "<f2";
    case DType::i64:
      return "<i8";
    case DType::i32:
      return "<i4";
    case DType::i16:
      return "<i2";
    case DType::i8:
      return "|i1";
    case DType::u64:
      return "<u8";
    case DType::u32:
      return "<u4";
    case DType::u16:
      return "<u2";
    case DType::u8:
      return "|u1";
    case DType::boolean:
      return "|b1";
    case DType::bf16:
    case DType::f8_e4m3:
    case DType::f8_e5m2:
      break;
  }
  return "";
}

// Version 1.0, its length a multiple of 64 as NumPy writes it.
std::string npy_header(const std::string& type, std::span<const std::int64_t> shape) {
  std::string sizes;
  for (const std::int64_t size : shape) sizes += fmt::format("{}{}", sizes.empty() ? "" : ", ", size);
  if (shape.size() == 1) sizes += ",";
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, sizes);
  constexpr std::size_t before = 10;
  text.append((64 - (before + text.size() + 1) % 64) % 64, ' ');
  text += '\n';
  const auto length = std::uint16_t(text.size());
  return std::string("\x93NUMPY\x01\x00", 8) + char(length & 0xff) + char(length >> 8) + text;
}

}  // namespace

void write_npz(const std::filesystem::path& path, std::span<const HostTensor> tensors,
               std::optional<DType> float_type) {
  write_npz(path, to_write(tensors), float_type);
}

void write_npz(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
               std::optional<DType> float_type) {
  const auto fail = [&](const std::string& what) { throw Error(fmt::format("{}: {}", path.string(), what)); };
  if (float_type && *float_type != DType::f32 && *float_type != DType::f16) {
    fail(fmt::format("cannot write as {}; f32 and f16 are offered for .npz", dtype_name(*float_type)));
  }
  constexpr std::size_t longest_name = 65535 - 4, most_dimensions = 64;
  std::set<std::string_view> names;
  for (const TensorToWrite& tensor : tensors) {
    const std::string& name = tensor.name;
    if (name.empty() || name.size() > longest_name || name.find('\0') != std::string::npos ||
        !is_utf8(name)) {
      fail(fmt::format("a tensor cannot be named {}", quote(name)));
    }
    if (!names.insert(name).second) fail(fmt::format("two tensors are named {}", quote(name)));
    if (tensor.shape.size() > most_dimensions) {
      fail(fmt::format("tensor {}: {} dimensions, NumPy has at most {}", quote(name), tensor.shape.size(),
                       most_dimensions));
    }
    const DType type = tensor.stored_type(float_type);
    if (descr(type).empty()) {
      fail(fmt::format("tensor {}: NumPy has no type {}; write it as f32", quote(name), dtype_name(type)));
    }
    static_cast<void>(tensor.stored_bytes({}));  // refuses an impossible shape
  }

  AtomicFile file(path);
  ZipWriter archive(file);
  for (const TensorToWrite& tensor : tensors) {
    const HostTensor stored = tensor.stored(float_type);
    const std::string header = npy_header(descr(stored.dtype), stored.shape);
    archive.add(stored.name + ".npy",
                {std::as_bytes(std::span(header)), std::span(stored.data.get(), stored.byte_size())});
  }
  archive.finish();
  file.commit();
}

}  // namespace retrace::weights
