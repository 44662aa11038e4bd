// CUDA's vector types for the simulator: same names, fields, sizes and alignments.
#pragma once
#include <cstdint>

namespace retrace::simt {

// The macro stays inside this file; CUDA's make_ functions come with each type.
#define RETRACE_VECTOR2(NAME, T, ALIGN)  \
  struct alignas(ALIGN) NAME {           \
    T x, y;                              \
  };                                     \
  constexpr NAME make_##NAME(T x, T y) { \
    return {x, y};                       \
  }
#define RETRACE_VECTOR4(NAME, T, ALIGN)            \
  struct alignas(ALIGN) NAME {                     \
    T x, y, z, w;                                  \
  };                                               \
  constexpr NAME make_##NAME(T x, T y, T z, T w) { \
    return {x, y, z, w};                           \
  }

RETRACE_VECTOR2(char2, signed char, 2)
RETRACE_VECTOR2(uchar2, unsigned char, 2)
RETRACE_VECTOR2(short2, short, 4)
RETRACE_VECTOR2(ushort2, unsigned short, 4)
RETRACE_VECTOR2(int2, int, 8)
RETRACE_VECTOR2(uint2, unsigned, 8)
RETRACE_VECTOR2(longlong2, long long, 16)
RETRACE_VECTOR2(ulonglong2, unsigned long long, 16)
RETRACE_VECTOR2(float2, float, 8)
RETRACE_VECTOR2(double2, double, 16)
RETRACE_VECTOR4(char4, signed char, 4)
RETRACE_VECTOR4(uchar4, unsigned char, 4)
RETRACE_VECTOR4(short4, short, 8)
RETRACE_VECTOR4(ushort4, unsigned short, 8)
RETRACE_VECTOR4(int4, int, 16)
RETRACE_VECTOR4(uint4, unsigned, 16)
RETRACE_VECTOR4(float4, float, 16)

#undef RETRACE_VECTOR2
#undef RETRACE_VECTOR4

struct float3 {
  float x, y, z;
};
constexpr float3 make_float3(float x, float y, float z) {
  return {x, y, z};
}
struct int3 {
  int x, y, z;
};
constexpr int3 make_int3(int x, int y, int z) {
  return {x, y, z};
}

}  // namespace retrace::simt
