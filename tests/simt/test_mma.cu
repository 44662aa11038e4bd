// The tensor-core wrappers against plain matrix products, and the 16-bit floats.
#include <cmath>
#include <limits>
#include <random>

#include "kernels/simt/half.h"
#include "kernels/simt/mma.h"
#include "tests/simt/helpers.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

using namespace retrace::test;

enum class Type { bf16, f16, tf32 };

// C (16×8) += A (16×k) · B (k×8), all fp32 in memory, by rows; one warp. 16-bit operands go through shared
// memory and ldmatrix, B stored as k×8 and loaded transposed, so that its layout is tested too.
template <Type T>
__global__ void one_tile(const float* a, const float* b, float* c, int k) {
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4;
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  if constexpr (T == Type::tf32) {
    for (int k0 = 0; k0 < k; k0 += 8) {
      std::uint32_t fa[4], fb[2];
      for (int i = 0; i < 4; ++i) fa[i] = __float_as_uint(a[(g + i % 2 * 8) * k + k0 + t + i / 2 * 4]);
      for (int i = 0; i < 2; ++i) fb[i] = __float_as_uint(b[(k0 + t + i * 4) * 8 + g]);
      mma_m16n8k8_tf32(sum, fa, fb, sum);
    }
  } else {
    SHARED(std::uint16_t, tile_a, 16 * 16);
    SHARED(std::uint16_t, tile_b, 16 * 16);  // columns 8…15 are there for ldmatrix_x4 only
    for (int k0 = 0; k0 < k; k0 += 16) {
      for (int i = lane; i < 256; i += 32) {
        const float from_a = a[i / 16 * k + k0 + i % 16],
                    from_b = i % 16 < 8 ? b[(k0 + i / 16) * 8 + i % 16] : 0.0f;
        tile_a[i] = T == Type::bf16 ? float_to_bf16(from_a) : float_to_f16(from_a);
        tile_b[i] = T == Type::bf16 ? float_to_bf16(from_b) : float_to_f16(from_b);
      }
      __syncwarp();
      std::uint32_t fa[4], fb[4];
      // Matrices: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
      const int row = lane % 16, column = lane / 16 * 8;
      ldmatrix_x4(fa, &tile_a[row * 16 + column]);
      ldmatrix_x4_trans(fb, &tile_b[row * 16 + column]);
      const std::uint32_t fb2[2] = {fb[0], fb[1]};
      if constexpr (T == Type::bf16) {
        mma_m16n8k16_bf16(sum, fa, fb2, sum);
      } else {
        mma_m16n8k16_f16(sum, fa, fb2, sum);
      }
      __syncwarp();
    }
  }
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

float as_operand(Type type, float x) {
  if (type == Type::bf16) return simt::bf16_to_float(simt::float_to_bf16(x));
  if (type == Type::f16) return simt::f16_to_float(simt::float_to_f16(x));
  return simt::float_of_bits(simt::bits_of_float(x) & 0xffffe000u);
}

template <Type T>
void check_products() {
  const int k = 48;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> a(16 * k), b(k * 8), c(16 * 8);
  for (auto* matrix : {&a, &b, &c}) {
    for (float& x : *matrix) x = normal(random);
  }
  std::vector<double> expected(c.begin(), c.end()), size(c.size());
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      for (int l = 0; l < k; ++l) {
        const double product =
            double(as_operand(T, a[std::size_t(m * k + l)])) * as_operand(T, b[std::size_t(l * 8 + n)]);
        expected[std::size_t(m * 8 + n)] += product;
        size[std::size_t(m * 8 + n)] += std::abs(product);
      }
    }
  }
  launch<one_tile<T>>(1, 32, 0, Stream{})(a.data(), b.data(), c.data(), k);
  // 49 additions in fp32, each off by at most half of 2^-23 of a partial sum. Operands that were rounded
  // otherwise would be off by a thousand times as much.
  for (std::size_t i = 0; i < c.size(); ++i)
    REQUIRE(std::abs(c[i] - expected[i]) <= 49 * 6e-8 * (size[i] + 1));
}

TEST_CASE("mma of bf16, f16 and tf32 with ldmatrix, against float64") {
  for (const auto& options : all_orders) {
    const WithOptions with(options);
    check_products<Type::bf16>();
    check_products<Type::f16>();
    check_products<Type::tf32>();
  }
}

__global__ void load_matrices(std::uint32_t* out) {
  SHARED(std::uint16_t, tile, 8 * 32);
  const int lane = int(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile[i] = std::uint16_t(i);
  __syncwarp();
  std::uint32_t r[4], s[4];
  ldmatrix_x4(r, &tile[lane * 8]);
  ldmatrix_x4_trans(s, &tile[lane * 8]);
  for (int i = 0; i < 4; ++i) {
    out[lane * 8 + i] = r[i];
    out[lane * 8 + 4 + i] = s[i];
  }
}

TEST_CASE("ldmatrix hands out the elements that the PTX tables name") {
  std::vector<std::uint32_t> out(256);
  launch<load_matrices>(1, 32, 0, Stream{})(out.data());
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    const std::uint32_t g = lane / 4, t = lane % 4;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t first = i * 64 + g * 8 + 2 * t, across = i * 64 + 2 * t * 8 + g;
      REQUIRE(out[lane * 8 + i] == (first | (first + 1) << 16));
      REQUIRE(out[lane * 8 + 4 + i] == (across | (across + 8) << 16));
    }
  }
}

__global__ void loads_askew(std::uint32_t* out) {
  SHARED(std::uint16_t, tile, 512);
  for (int i = int(threadIdx.x); i < 512; i += 32) tile[i] = 0;
  __syncwarp();
  std::uint32_t r[4];
  ldmatrix_x4(r, &tile[threadIdx.x * 4]);
  out[threadIdx.x] = r[0];
}
__global__ void half_a_warp(float* out) {
  std::uint32_t a[4] = {}, b[2] = {};
  float c[4] = {};
  if (threadIdx.x < 16) mma_m16n8k8_tf32(c, a, b, c);
  out[threadIdx.x] = c[0];
}

TEST_CASE("tensor-core instructions that are called wrongly") {
  std::vector<std::uint32_t> bits(32);
  std::vector<float> floats(32);
  CHECK(
      has(message_of([&] { launch<loads_askew>(1, 32, 0, Stream{})(bits.data()); }), "not a multiple of 16"));
  CHECK(has(message_of([&] { launch<half_a_warp>(1, 32, 0, Stream{})(floats.data()); }),
            "lane 16 (thread (16,0,0)) has exited"));
}

TEST_CASE("rounding to tf32 is to nearest, ties away from zero") {
  const auto rounded = [](std::uint32_t bits) { return simt::round_to_tf32(simt::float_of_bits(bits)); };
  CHECK(rounded(0x3f800fffu) == 0x3f800000u);
  CHECK(rounded(0x3f801000u) == 0x3f802000u);
  CHECK(rounded(0xbf801000u) == 0xbf802000u);
  CHECK(rounded(0x3ffff000u) == 0x40000000u);
  CHECK(rounded(0x7f800000u) == 0x7f800000u);
  CHECK(std::isnan(simt::float_of_bits(rounded(0x7f800001u))));
}

TEST_CASE(
    "bf16 and f16: every value survives the way there and back, and the middle between two goes to the even "
    "one") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = std::uint16_t(bits);
    const float b = simt::bf16_to_float(half), h = simt::f16_to_float(half);
    if (std::isnan(b)) {
      REQUIRE(std::isnan(simt::bf16_to_float(simt::float_to_bf16(b))));
    } else {
      REQUIRE(simt::float_to_bf16(b) == half);
    }
    if (std::isnan(h)) {
      REQUIRE(std::isnan(simt::f16_to_float(simt::float_to_f16(h))));
      continue;
    }
    REQUIRE(simt::float_to_f16(h) == half);
    const float next = simt::f16_to_float(std::uint16_t(half + 1));
    if ((half & 0x7fff) < 0x7bff) {
      const float middle = h + (next - h) / 2;  // exact in fp32
      REQUIRE(simt::float_to_f16(middle) == (half % 2 ? half + 1 : half));
      REQUIRE(simt::float_to_f16(std::nextafter(middle, next)) == half + 1);
      REQUIRE(simt::float_to_f16(std::nextafter(middle, h)) == half);
    }
  }
  CHECK(simt::f16_to_float(0x3c00) == 1.0f);
  CHECK(simt::f16_to_float(0x0001) == std::ldexp(1.0f, -24));
  CHECK(simt::float_to_f16(65519.0f) == 0x7bff);
  CHECK(simt::float_to_f16(65520.0f) == 0x7c00);
  CHECK(simt::float_to_f16(-1e30f) == 0xfc00);
  CHECK(simt::float_to_bf16(simt::float_of_bits(0x3f808000u)) == 0x3f80);
  CHECK(simt::float_to_bf16(simt::float_of_bits(0x3f818000u)) == 0x3f82);
  CHECK(simt::float_to_bf16(3.4e38f) == 0x7f80);
}

}  // namespace
}  // namespace retrace::kernels::RETRACE_TARGET
