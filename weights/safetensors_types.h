// safetensors' names of element types.
#pragma once
#include <array>
#include <string_view>
#include <utility>

#include "weights/dtype.h"

namespace retrace::weights {

inline constexpr std::array<std::pair<std::string_view, DType>, 13> safetensors_types = {{
    {"F64", DType::f64},
    {"F32", DType::f32},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
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

// The longest header that the format's own library accepts.
inline constexpr std::size_t safetensors_max_header = 100'000'000;

}  // namespace retrace::weights
