// Tensor cores through mma.sync and ldmatrix, compute capability 8.0. One function per PTX instruction; all 32
// lanes of a warp call it together. Fragment layouts are those of "PTX ISA", matrix fragments for mma, with
// g = lane / 4 and t = lane % 4:
//
//   accumulators c, d (16×8, fp32):  [0], [1] = row g, columns 2t, 2t+1;  [2], [3] = row g+8, the same columns
//
//   m16n8k16, 16-bit operands, two per register, the lower k or column in the lower half:
//     a (16×16, by rows):     [0] = row g, k 2t, 2t+1;  [1] = row g+8, the same k;  [2] = row g, k 2t+8, 2t+9;
//                             [3] = row g+8, k 2t+8, 2t+9
//     b (16×8, by columns):   [0] = k 2t, 2t+1, column g;  [1] = k 2t+8, 2t+9, column g
//   m16n8k8, tf32 operands (the bits of a float):
//     a (16×8):               [0] = row g, k t;  [1] = row g+8, k t;  [2] = row g, k t+4;  [3] = row g+8, k t+4
//     b (8×8):                [0] = k t, column g;  [1] = k t+4, column g
//
// d = a·b + c; d may be c. The tensor cores read tf32 operands by dropping the 13 lowest bits; round_to_tf32 rounds
// to nearest first. Products are exact and sums are kept in fp32; in what order, and how the hardware rounds in
// between, is not specified: the simulator adds in the order of k with a fused multiply-add, so that the last bits
// may differ from a GPU's.
#pragma once
#include <cstdint>

#include "kernels/simt/simt.h"

namespace retrace::simt {

#if defined(__CUDACC__)

__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2], const float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}
__device__ __forceinline__ void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2], const float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2], const float (&c)[4]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}

// To 10 bits of mantissa, to nearest, ties away from zero (cvt.rna): the bits of a float whose 13 lowest are 0.
__device__ __forceinline__ std::uint32_t round_to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// Four 8×8 matrices of 16-bit elements from shared memory. Lane l brings the address of row l % 8 of matrix l / 8:
// 16 bytes, 16-byte aligned. r[i] receives of matrix i row g, columns 2t and 2t+1; `_trans` the transpose's: rows
// 2t and 2t+1 of column g.
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  const unsigned address = unsigned(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  const unsigned address = unsigned(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

#else

// What one lane brings: its registers.
struct MmaOperand {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
  const float* c;
};
void mma_bf16_together(void* const* operands, unsigned mask);
void mma_f16_together(void* const* operands, unsigned mask);
void mma_tf32_together(void* const* operands, unsigned mask);

inline void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                              const float (&c)[4],
                              std::source_location at = std::source_location::current()) {
  MmaOperand operand{d, a, b, c};
  warp_collective(mma_bf16_together, 0xffffffffu, &operand, at);
}
inline void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                             const float (&c)[4], std::source_location at = std::source_location::current()) {
  MmaOperand operand{d, a, b, c};
  warp_collective(mma_f16_together, 0xffffffffu, &operand, at);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                             const float (&c)[4], std::source_location at = std::source_location::current()) {
  MmaOperand operand{d, a, b, c};
  warp_collective(mma_tf32_together, 0xffffffffu, &operand, at);
}

inline std::uint32_t round_to_tf32(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return (bits & 0x7fffffu) ? 0x7fffffffu : bits;  // NaN, infinity
  return (bits + 0x1000u) &
         0xffffe000u;  // half of the last bit kept; a carry runs into the exponent, rightly
}

// Each lane loads the row it brings into `bits`; `r` receives its part of all of them.
struct LdmatrixOperand {
  std::uint16_t row[8];
  std::uint32_t* r;
};
void ldmatrix_together(void* const* operands, unsigned mask);
void ldmatrix_trans_together(void* const* operands, unsigned mask);
void ldmatrix_x4(WarpFunction together, std::uint32_t (&r)[4], const void* row,
                 const std::source_location& at);

inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row,
                        std::source_location at = std::source_location::current()) {
  ldmatrix_x4(ldmatrix_together, r, row, at);
}
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row,
                              std::source_location at = std::source_location::current()) {
  ldmatrix_x4(ldmatrix_trans_together, r, row, at);
}

#endif

}  // namespace retrace::simt
