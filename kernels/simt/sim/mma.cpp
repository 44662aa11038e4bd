// The simulator's tensor core: the last lane to come computes for all of its warp.
#include "kernels/simt/mma.h"

#include "kernels/simt/half.h"
#include "kernels/simt/sim/executor.h"

namespace retrace::simt {
namespace {

float bf16_low(std::uint32_t pair) {
  return __uint_as_float(pair << 16);
}
float bf16_high(std::uint32_t pair) {
  return __uint_as_float(pair & 0xffff0000u);
}
float f16_low(std::uint32_t pair) {
  return f16_to_float(std::uint16_t(pair));
}
float f16_high(std::uint32_t pair) {
  return f16_to_float(std::uint16_t(pair >> 16));
}

// c (16×8) += a (16×K) · b (K×8), k by k; the inner loop is one vector.
template <int K>
void multiply(const float (&a)[16][K], const float (&b)[K][8], float (&c)[16][8]) {
  for (int m = 0; m < 16; ++m) {
    for (int k = 0; k < K; ++k) {
      for (int n = 0; n < 8; ++n) c[m][n] = __builtin_fmaf(a[m][k], b[k][n], c[m][n]);
    }
  }
}

void gather(void* const* operands, float (&c)[16][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    const float* const from = static_cast<const MmaOperand*>(operands[lane])->c;
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) c[g + i / 2 * 8][2 * t + i % 2] = from[i];
  }
}
void scatter(void* const* operands, const float (&c)[16][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    float* const to = static_cast<const MmaOperand*>(operands[lane])->d;
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) to[i] = c[g + i / 2 * 8][2 * t + i % 2];
  }
}

template <float (&Low)(std::uint32_t), float (&High)(std::uint32_t)>
void multiply_16_bit(void* const* operands) {
  float a[16][16], b[16][8], c[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operand = *static_cast<const MmaOperand*>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = g + i % 2 * 8, k = 2 * t + i / 2 * 8;
      a[row][k] = Low(operand.a[i]);
      a[row][k + 1] = High(operand.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      const int k = 2 * t + 8 * i;
      b[k][g] = Low(operand.b[i]);
      b[k + 1][g] = High(operand.b[i]);
    }
  }
  gather(operands, c);
  multiply(a, b, c);
  scatter(operands, c);
}

float tf32(std::uint32_t bits) {
  return __uint_as_float(bits & 0xffffe000u);
}

template <bool Transpose>
void distribute(void* const* operands) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    std::uint32_t* const r = static_cast<LdmatrixOperand*>(operands[lane])->r;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto element = [&](int row, int column) -> std::uint32_t {
        return static_cast<const LdmatrixOperand*>(operands[matrix * 8 + row])->row[column];
      };
      r[matrix] = Transpose ? element(2 * t, g) | element(2 * t + 1, g) << 16
                            : element(g, 2 * t) | element(g, 2 * t + 1) << 16;
    }
  }
}

}  // namespace

void mma_bf16_together(void* const* operands, unsigned) {
  multiply_16_bit<bf16_low, bf16_high>(operands);
}
void mma_f16_together(void* const* operands, unsigned) {
  multiply_16_bit<f16_low, f16_high>(operands);
}

void mma_tf32_together(void* const* operands, unsigned) {
  float a[16][8], b[8][8], c[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& operand = *static_cast<const MmaOperand*>(operands[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = tf32(operand.a[i]);
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = tf32(operand.b[i]);
  }
  gather(operands, c);
  multiply(a, b, c);
  scatter(operands, c);
}

void ldmatrix_together(void* const* operands, unsigned) {
  distribute<false>(operands);
}
void ldmatrix_trans_together(void* const* operands, unsigned) {
  distribute<true>(operands);
}

void ldmatrix_x4(WarpFunction together, std::uint32_t (&r)[4], const void* row,
                 const std::source_location& at) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16) {
    const Unwatched faulting;
    executor->fault_at(at, "gives ldmatrix the address of a row that is not a multiple of 16");
  }
  note_access(row, 16, Access::read, at);
  LdmatrixOperand operand;
  std::memcpy(operand.row, row, 16);
  operand.r = r;
  warp_collective(together, 0xffffffffu, &operand, at);
}

}  // namespace retrace::simt
