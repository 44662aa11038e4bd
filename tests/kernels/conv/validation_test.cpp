// What the launchers refuse, and in which words.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>

#include "engine/tensor.h"
#include "tests/common/test_device.h"
#include "tests/kernels/conv/harness.h"

namespace retrace::conv_test {
namespace {

// Expects an Error (of exactly this family) whose one line holds every one of `words`.
void refuses(const std::function<void()>& launch, std::initializer_list<const char*> words) {
  try {
    launch();
    FAIL_CHECK("nothing was thrown; expected an error about: ", std::string(*words.begin()));
  } catch (const Error& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(message.find('\n') == std::string::npos);
    for (const char* word : words) CHECK_MESSAGE(message.find(word) != std::string::npos, word);
  }
}

const Conv2dShape good{2, 8, 7, 16, 32, 3, 3, 2, 1, 1, 1};

TEST_CASE("a shape that makes no sense names the field and shows the shape") {
  struct Bad {
    void (*spoil)(Conv2dShape&);
    const char* word;
  };
  const Bad cases[] = {
      {[](Conv2dShape& s) { s.n = 0; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.h = 0; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.w = -1; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.c = 0; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.k = 0; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.r = 0; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.s = -3; }, "every extent must be at least 1"},
      {[](Conv2dShape& s) { s.stride_h = 0; }, "stride must be at least 1"},
      {[](Conv2dShape& s) { s.stride_w = -1; }, "stride must be at least 1"},
      {[](Conv2dShape& s) { s.dilation_h = 0; }, "dilation must be at least 1"},
      {[](Conv2dShape& s) { s.dilation_w = 0; }, "dilation must be at least 1"},
      {[](Conv2dShape& s) { s.pad_h = -1; }, "padding must not be negative"},
      {[](Conv2dShape& s) { s.pad_w = -1; }, "padding must not be negative"},
      {[](Conv2dShape& s) { s.groups = 0; }, "groups must divide"},
      {[](Conv2dShape& s) { s.groups = 3; }, "groups must divide"},
      {[](Conv2dShape& s) { s.c = 24, s.groups = 3; }, "groups must divide"},  // divides c, not k
      {[](Conv2dShape& s) { s.k = 24, s.groups = 3; }, "groups must divide"},  // divides k, not c
      {[](Conv2dShape& s) { s.r = 11; }, "filter does not fit"},
      {[](Conv2dShape& s) { s.s = 10; }, "filter does not fit"},
      {[](Conv2dShape& s) { s.dilation_h = 5; }, "filter does not fit"},
      {[](Conv2dShape& s) { s.dilation_w = 2147483647; }, "filter does not fit"},
      {[](Conv2dShape& s) { s.pad_h = 2147483647; }, "does not fit"},
      {[](Conv2dShape& s) { s.n = 1 << 22; }, "2^31 elements"},                     // of x
      {[](Conv2dShape& s) { s.n = 40000, s.c = 2, s.k = 4000; }, "2^31 elements"},  // of y
      {[](Conv2dShape& s) { s.k = 1 << 20, s.c = 1 << 12; }, "2^31 elements"},      // of w
  };
  good.validate();
  Tensor memory(test_device(), {64});
  float* const data = memory.data();
  for (const Bad& bad : cases) {
    Conv2dShape shape = good;
    bad.spoil(shape);
    CAPTURE(shape.describe());
    refuses([&] { shape.validate(); }, {"convolution", bad.word, shape.describe().c_str()});
    // The launchers look before they leap: no memory of that size exists here.
    const auto& kernels = test_device().kernels();
    refuses([&] { kernels.conv2d_fprop({.shape = shape, .x = data, .w = data, .y = data + 1}, {}); },
            {bad.word});
    refuses(
        [&] {
          kernels.conv2d_dgrad({.shape = shape, .dy = {data}, .w = data, .epilogue = {}, .dx = data + 1}, {});
        },
        {bad.word});
    refuses([&] { kernels.conv2d_wgrad({.shape = shape, .x = data, .dy = data, .dw = data + 1}, {}); },
            {bad.word});
    refuses([&] { kernels::conv2d_wgrad_workspace(shape); }, {bad.word});
  }
}

TEST_CASE("the largest filter that fits is accepted") {
  Conv2dShape shape = good;
  shape.r = 10, shape.s = 9;
  shape.validate();
  CHECK(shape.p() == 1);
  CHECK(shape.q() == 1);
}

TEST_CASE("operands that are missing or overlap") {
  Device& device = test_device();
  const Conv2dShape shape{1, 2, 2, 4, 4, 1, 1};
  Tensor x(device, {16}), w(device, {16}), y(device, {16});
  Tensor mask(device, {4}, ElementType::u8);
  const kernels::Conv2dFprop f{.shape = shape, .x = x.data(), .w = w.data(), .y = y.data()};
  const auto fprop = [&](void (*spoil)(kernels::Conv2dFprop&), std::initializer_list<const char*> words) {
    kernels::Conv2dFprop bad = f;
    spoil(bad);
    refuses([&] { device.kernels().conv2d_fprop(bad, device.stream()); }, words);
  };
  fprop([](auto& a) { a.x = nullptr; }, {"conv2d_fprop", "x, w and y are required", "h2 w2 c4"});
  fprop([](auto& a) { a.w = nullptr; }, {"x, w and y are required"});
  fprop([](auto& a) { a.y = nullptr; }, {"x, w and y are required"});
  fprop([](auto& a) { a.y = const_cast<float*>(a.x); }, {"conv2d_fprop", "y must not be x"});
  fprop([](auto& a) { a.variant = ConvVariant(77); }, {"conv2d_fprop", "no variant number 77"});
  kernels::Conv2dFprop no_relu = f;
  no_relu.relu_mask = mask.data<std::uint8_t>();
  refuses([&] { device.kernels().conv2d_fprop(no_relu, device.stream()); }, {"a ReLU mask needs a ReLU"});

  const kernels::Conv2dDgrad d{
      .shape = shape, .dy = {y.data()}, .w = w.data(), .epilogue = {}, .dx = x.data()};
  const auto dgrad = [&](void (*spoil)(kernels::Conv2dDgrad&), std::initializer_list<const char*> words) {
    kernels::Conv2dDgrad bad = d;
    spoil(bad);
    refuses([&] { device.kernels().conv2d_dgrad(bad, device.stream()); }, words);
  };
  dgrad([](auto& a) { a.dy.signal = nullptr; }, {"conv2d_dgrad", "dy, w and dx are required", "h2 w2 c4"});
  dgrad([](auto& a) { a.w = nullptr; }, {"dy, w and dx are required"});
  dgrad([](auto& a) { a.dx = nullptr; }, {"dy, w and dx are required"});
  dgrad([](auto& a) { a.dx = const_cast<float*>(a.dy.signal); },
        {"conv2d_dgrad", "dx must not be an operand of dy"});
  dgrad([](auto& a) { a.dy.factor = a.dx; }, {"dx must not be an operand of dy"});
  dgrad([](auto& a) { a.dy.denominator = a.dx; }, {"dx must not be an operand of dy"});
  dgrad([](auto& a) { a.dy.epsilon = -1; }, {"epsilon must not be negative"});
  dgrad([](auto& a) { a.dy.epsilon = std::nanf(""); }, {"epsilon must not be negative"});
  dgrad([](auto& a) { a.variant = ConvVariant(77); }, {"conv2d_dgrad", "no variant number 77"});

  // two slices of 128 pixels each
  const Conv2dShape sliced{1, 16, 16, 4, 4, 1, 1};
  Tensor picture(device, {1024}), signal(device, {1024}), dw(device, {16}), workspace(device, {32});
  REQUIRE(kernels::conv2d_wgrad_workspace(sliced) == 32);
  const kernels::Conv2dWgrad g{.shape = sliced,
                               .x = picture.data(),
                               .dy = signal.data(),
                               .dw = dw.data(),
                               .workspace = workspace.data()};
  const auto wgrad = [&](void (*spoil)(kernels::Conv2dWgrad&), std::initializer_list<const char*> words) {
    kernels::Conv2dWgrad bad = g;
    spoil(bad);
    refuses([&] { device.kernels().conv2d_wgrad(bad, device.stream()); }, words);
  };
  wgrad([](auto& a) { a.x = nullptr; }, {"conv2d_wgrad", "x, dy and dw are required", "h16 w16 c4"});
  wgrad([](auto& a) { a.dy = nullptr; }, {"x, dy and dw are required"});
  wgrad([](auto& a) { a.dw = nullptr; }, {"x, dy and dw are required"});
  wgrad([](auto& a) { a.workspace = nullptr; }, {"conv2d_wgrad", "a workspace is required", "h16 w16 c4"});
  wgrad([](auto& a) { a.dw = const_cast<float*>(a.x) + 1023; }, {"conv2d_wgrad", "dw", "memory of x"});
  wgrad([](auto& a) { a.dw = const_cast<float*>(a.dy); }, {"dw", "memory of dy"});
  wgrad([](auto& a) { a.dw = a.workspace + 31; }, {"dw", "memory of workspace"});
  wgrad([](auto& a) { a.workspace = const_cast<float*>(a.x) + 4; }, {"workspace", "memory of x"});
  wgrad([](auto& a) { a.workspace = const_cast<float*>(a.dy) + 4; }, {"workspace", "memory of dy"});
  wgrad([](auto& a) { a.variant = ConvVariant(77); }, {"conv2d_wgrad", "no variant number 77"});

  // and what was spoiled above is fine unspoiled
  device.zero(x.raw(), x.bytes());
  device.zero(w.raw(), w.bytes());
  device.kernels().conv2d_fprop(f, device.stream());
  device.kernels().conv2d_dgrad(d, device.stream());
  CHECK(x.to_host() == std::vector<float>(16, 0.0f));
  device.zero(picture.raw(), picture.bytes());
  device.zero(signal.raw(), signal.bytes());
  device.kernels().conv2d_wgrad(g, device.stream());
  CHECK(dw.to_host() == std::vector<float>(16, 0.0f));
}

TEST_CASE("tiled: more groups and parities than a grid has layers") {
  const Conv2dShape shape{.c = 4096, .k = 4096, .stride_h = 4, .stride_w = 4, .groups = 4096};
  Dgrad a{.shape = shape, .dy = std::vector<float>(4096, 1.0f), .w = std::vector<float>(4096, 2.0f)};
  refuses([&] { run(a, ConvVariant::tiled); }, {"tiled", "at most 65535", "groups 4096"});
  CHECK(run(a, ConvVariant::automatic) == std::vector<float>(4096, 2.0f));

  // 2^62 parities times 4 groups are more than 64 bits count.
  const Conv2dShape far{.c = 64, .k = 64, .stride_h = 2147483647, .stride_w = 1 << 30, .groups = 4};
  Dgrad b{.shape = far, .dy = std::vector<float>(64, 1.0f), .w = std::vector<float>(1024, 2.0f)};
  refuses([&] { run(b, ConvVariant::tiled); }, {"tiled", "at most 65535", "stride 2147483647"});
  CHECK(run(b, ConvVariant::automatic) == std::vector<float>(64, 32.0f));
}

TEST_CASE("variant names") {
  for (ConvVariant variant :
       {ConvVariant::automatic, ConvVariant::direct, ConvVariant::tiled, ConvVariant::depthwise}) {
    CHECK(kernels::parse_conv_variant(kernels::conv_variant_name(variant)) == variant);
  }
  CHECK(kernels::parse_conv_variant("auto") == ConvVariant::automatic);
  CHECK_THROWS_AS(kernels::parse_conv_variant("fast"), UsageError);
  refuses([] { kernels::parse_conv_variant("fast"); }, {"'fast'", "auto, direct, tiled or depthwise"});
}

}  // namespace
}  // namespace retrace::conv_test
