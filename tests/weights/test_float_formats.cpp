#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "build_files.h"
#include "weights/float_formats.h"
#include "weights/host_tensor.h"

namespace retrace::weights::test {
namespace {

struct Format {
  const char* name;
  int fraction_bits, bias, exponent_bits;
  float (*widen)(std::uint16_t);
  std::uint16_t (*narrow)(float);
  std::uint16_t infinity() const { return std::uint16_t(((1 << exponent_bits) - 1) << fraction_bits); }
  // By the definition: (-1)^s · 1.f · 2^(e - bias), or 0.f · 2^(1 - bias).
  double defined(std::uint16_t code) const {
    const int fraction = code & ((1 << fraction_bits) - 1);
    const int exponent = code >> fraction_bits & ((1 << exponent_bits) - 1);
    const double significand = exponent ? (1 << fraction_bits) + fraction : fraction;
    const double magnitude = std::ldexp(significand, (exponent ? exponent : 1) - bias - fraction_bits);
    return code & 0x8000 ? -magnitude : magnitude;
  }
};

constexpr Format formats[] = {{"f16", 10, 15, 5, f16_to_f32, f32_to_f16},
                              {"bf16", 7, 127, 8, bf16_to_f32, f32_to_bf16}};

}  // namespace

TEST_CASE("every f16 and bf16 code widens to the value its format defines, and narrows back") {
  for (const Format& format : formats) {
    INFO(format.name);
    for (std::uint32_t i = 0; i < 0x10000; ++i) {
      const auto code = std::uint16_t(i);
      const float value = format.widen(code);
      const std::uint16_t magnitude = code & 0x7fff;
      if (magnitude > format.infinity()) {
        if (!std::isnan(value) || !std::isnan(format.widen(format.narrow(value)))) FAIL("code " << i);
        continue;
      }
      const double expected =
          magnitude == format.infinity()
              ? std::copysign(std::numeric_limits<double>::infinity(), code & 0x8000 ? -1 : 1)
              : format.defined(code);
      if (value != expected || std::signbit(value) != std::signbit(expected))
        FAIL("code " << i << " " << value);
      if (format.narrow(value) != code) FAIL("code " << i << " comes back as " << format.narrow(value));
    }
  }
}

TEST_CASE("the first value that is not finite is found in every type, wherever it stands") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::f64}) {
    INFO(dtype_name(type));
    for (const std::size_t n : {1, 2, 31, 64, 1001}) {
      for (const std::size_t at : {std::size_t(0), n / 2, n - 1}) {
        for (const float bad :
             {inf, -inf, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()}) {
          // The largest finite f16 is 65504: every bit of the exponent but the last is one.
          std::vector<float> values(n, 32768.f);
          const auto tensor_of = [&](const std::vector<float>& floats) {
            if (type != DType::f64)
              return convert(HostTensor::from_f32("w", {std::int64_t(n)}, floats), type);
            const auto wide = std::make_shared<std::vector<double>>(floats.begin(), floats.end());
            return HostTensor{
                "w", type, {std::int64_t(n)}, {wide, reinterpret_cast<const std::byte*>(wide->data())}};
          };
          CHECK_FALSE(tensor_of(values).first_not_finite());
          values[at] = bad;
          values[n - 1] = at == n - 1 ? bad : inf;
          const auto found = tensor_of(values).first_not_finite();
          REQUIRE(found);
          CHECK((std::isnan(bad) ? std::isnan(*found) : *found == bad));
          CHECK(std::signbit(*found) == std::signbit(bad));
        }
      }
    }
  }
  // f64 beyond float; codes of the 8-bit formats; integers.
  const double large = 1e300;
  const std::int64_t whole = -1;
  const std::uint8_t code = 0x7f, most = 0x7e, e5m2_infinity = 0x7c;
  const auto one = [](const auto& value, DType type) {
    const auto kept = std::make_shared<std::remove_cvref_t<decltype(value)>>(value);
    return HostTensor{"w", type, {}, {kept, reinterpret_cast<const std::byte*>(kept.get())}}
        .first_not_finite();
  };
  CHECK(one(large, DType::f64) == large);
  CHECK(std::isnan(one(code, DType::f8_e4m3).value_or(0)));
  CHECK_FALSE(one(most, DType::f8_e4m3));
  CHECK(one(e5m2_infinity, DType::f8_e5m2) == inf);
  CHECK_FALSE(one(whole, DType::i64));
  CHECK_FALSE(one(code, DType::u8));
}

TEST_CASE("every 8-bit code widens to the value its format defines") {
  // OCP 8-bit Floating Point Specification 1.0, table 1: E4M3 has no infinities and one NaN of each sign.
  const auto check = [](const char* name, float (*widen)(std::uint8_t), int fraction_bits, int bias,
                        int first_nan, int infinity) {
    INFO(name);
    for (int code = 0; code < 256; ++code) {
      const float value = widen(std::uint8_t(code));
      const int magnitude = code & 0x7f;
      if (std::signbit(value) != (code >= 128)) FAIL("code " << code << " has the wrong sign");
      if (magnitude >= first_nan) {
        if (!std::isnan(value)) FAIL("code " << code << " is " << value << ", not NaN");
        continue;
      }
      const int fraction = code & ((1 << fraction_bits) - 1), exponent = magnitude >> fraction_bits;
      const double significand = exponent ? (1 << fraction_bits) + fraction : fraction;
      const double expected = magnitude == infinity
                                  ? std::numeric_limits<double>::infinity()
                                  : std::ldexp(significand, (exponent ? exponent : 1) - bias - fraction_bits);
      if (std::abs(value) != expected) FAIL("code " << code << " is " << value << ", not " << expected);
    }
  };
  check("f8_e4m3", f8_e4m3_to_f32, 3, 7, 0x7f, -1);
  check("f8_e5m2", f8_e5m2_to_f32, 2, 15, 0x7d, 0x7c);
  // The values the specification lists: largest, smallest normal, smallest subnormal.
  CHECK(f8_e4m3_to_f32(0x7e) == 448);
  CHECK(f8_e4m3_to_f32(0x08) == 0x1p-6f);
  CHECK(f8_e4m3_to_f32(0x81) == -0x1p-9f);
  CHECK(f8_e5m2_to_f32(0x7b) == 57344);
  CHECK(f8_e5m2_to_f32(0x04) == 0x1p-14f);
  CHECK(f8_e5m2_to_f32(0x81) == -0x1p-16f);
}

TEST_CASE("narrowing rounds to nearest, ties to even, at and around every midpoint") {
  for (const Format& format : formats) {
    INFO(format.name);
    // The last step is from the largest finite value to what would follow it, which becomes infinity.
    for (std::uint16_t code = 0; code < format.infinity(); ++code) {
      const auto next = std::uint16_t(code + 1);
      // Exact: one more bit than the format has, and double has many more. For bf16's smallest values the
      // midpoint is a float too (subnormal).
      const double middle = (format.defined(code) + format.defined(next)) / 2;
      const auto tie = float(middle);
      REQUIRE(double(tie) == middle);
      const std::uint16_t even = code & 1 ? next : code;
      const float below = std::nextafter(tie, 0.f), above = std::nextafter(tie, INFINITY);
      if (format.narrow(tie) != even || format.narrow(below) != code || format.narrow(above) != next ||
          format.narrow(-tie) != (even | 0x8000) || format.narrow(-above) != (next | 0x8000)) {
        FAIL("after code " << code);
      }
    }
  }
}

TEST_CASE("narrowing keeps NaN, whatever its payload and sign") {
  for (const Format& format : formats) {
    for (const std::uint32_t bits :
         {0x7f800001u, 0x7f80ffffu, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
      CHECK(std::isnan(format.widen(format.narrow(std::bit_cast<float>(bits)))));
    }
  }
}

TEST_CASE("tensors convert between floating types through float") {
  const std::vector<double> values{1.0 / 3, -65504, 1e-30, 0.1};
  HostTensor tensor{"t", DType::f64, {2, 2}, nullptr};
  const auto bytes = std::make_shared<std::vector<double>>(values);
  tensor.data = {bytes, reinterpret_cast<const std::byte*>(bytes->data())};

  CHECK(tensor.to_f32() == std::vector<float>(values.begin(), values.end()));
  CHECK(convert(tensor, DType::f32).to_f32() == tensor.to_f32());
  const HostTensor half = convert(tensor, DType::f16);
  CHECK(half.shape == tensor.shape);
  CHECK(half.byte_size() == 8);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(half.to_f32()[i] == f16_to_f32(f32_to_f16(float(values[i]))));
    CHECK(convert(half, DType::bf16).to_f32()[i] == bf16_to_f32(f32_to_bf16(half.to_f32()[i])));
  }
  CHECK(convert(half, DType::f16).data == half.data);

  const auto one = [](float value) { return HostTensor::from_f32("big", {1}, {value}); };
  CHECK(convert(one(65519.996f), DType::f16).to_f32()[0] == 65504.f);
  CHECK(
      contains(error_of([&] { convert(one(65520.f), DType::f16); }), "'big': value 65520 does not fit f16"));
  CHECK(std::isinf(convert(one(-INFINITY), DType::f16).to_f32()[0]));
  CHECK(std::isnan(convert(one(NAN), DType::bf16).to_f32()[0]));
  // The largest bf16 is 3.3895e38; half a step above it begins infinity.
  CHECK(convert(one(3.39e38f), DType::bf16).to_f32()[0] == bf16_to_f32(0x7f7f));
  CHECK(contains(error_of([&] { convert(one(std::numeric_limits<float>::max()), DType::bf16); }),
                 "does not fit"));
  HostTensor integer = one(1);
  integer.dtype = DType::i32;
  CHECK(contains(error_of([&] { convert(integer, DType::f16); }), "cannot convert i32 to f16"));
}

TEST_CASE("a tensor's shape must be possible and fit its values") {
  CHECK(contains(error_of([] { HostTensor::from_f32("w", {2, 3}, {1, 2}); }), "shape [2, 3] needs 6"));
  const auto count = [](std::vector<std::int64_t> shape) {
    return HostTensor{"w", DType::f32, std::move(shape), nullptr}.count();
  };
  CHECK(count({}) == 1);
  CHECK(count({3, 0, 5}) == 0);
  CHECK(contains(error_of([&] { count({-1}); }), "shape [-1] is not possible"));
  CHECK(contains(error_of([&] { count({std::int64_t(1) << 32, std::int64_t(1) << 31}); }), "not possible"));
  CHECK(contains(error_of([&] { count({0, std::int64_t(1) << 62, 2}); }), "not possible"));
  const HostTensor large{"w", DType::f64, {std::int64_t(1) << 61}, nullptr};
  CHECK(contains(error_of([&] { static_cast<void>(large.byte_size()); }), "too large"));
}

}  // namespace retrace::weights::test
