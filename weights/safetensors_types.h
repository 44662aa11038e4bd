// safetensors' names of element types.
#pragma once
#include <array>
#include <string_view>
#include <utility>

#include "weights/dtype.h"

namespace retrace::weights {

inline constexpr std::array<std::pair<std::string_view, DType>, 15> safetensors_types = {{
    {"F64", DType::f64},
    {"F32", DType::f32},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
    {"F8_E4M3", DType::f8_e4m3},
    {"F8_E5M2", DType::f8_e5m2},
    {"I64", DType::i64},
    {"I32", DType::i32},
    {"I16", DType::i16},
    {"I8", DType::i8},
    {"U64", DType::u64},
    {"U32", DType::u32},
    {"U16", DType::u16},
    {"U8", DType::u8},
    {"BOOL", DType::boolean},
}};

// The format's other names: elements smaller than a byte, scales, complex numbers, and 8-bit floats without a negative
// zero. Networks of these need more than their values to be understood.
inline constexpr std::array<std::string_view, 7> safetensors_types_not_read = {
    "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

// The longest header that the format's own library accepts.
inline constexpr std::size_t safetensors_max_header = 100'000'000;

}  // namespace retrace::weights
