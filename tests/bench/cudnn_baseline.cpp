#include "tests/bench/cudnn_baseline.h"

#include <fmt/format.h>

#ifndef RETRACE_HAS_CUDNN

namespace retrace::bench {

nlohmann::json compare_with_cudnn(Device& device, const std::vector<ConvCase>&, int) {
  if (device.kind() == DeviceKind::cuda) fmt::print("no comparison with cuDNN: this build did not find it\n");
  return nullptr;
}

}  // namespace retrace::bench

#else

#include <cudnn.h>

#include <cmath>
#include <cstdio>
#include <random>

#include "engine/tensor.h"
#include "tests/bench/event_timer.h"

namespace retrace::bench {
namespace {

using kernels::Conv2dShape;
using Values = std::vector<float>;

constexpr std::size_t workspace_bytes = std::size_t(256) << 20;
constexpr int most_algorithms = 32;

void check(cudnnStatus_t status, const char* call) {
  if (status != CUDNN_STATUS_SUCCESS) throw Error(fmt::format("{}: {}", call, cudnnGetErrorString(status)));
}
#define CHECK(call) check(call, #call)

Values random_values(long long count, std::uint32_t seed) {
  std::mt19937 random(seed);
  Values values(static_cast<std::size_t>(count));
  for (float& v : values) v = float(int(random() >> 8) - (1 << 23)) / float(1 << 23);
  return values;
}

// [outer, inner, channels] to [outer, channels, inner].
Values channels_first(const Values& values, int channels, std::size_t inner) {
  Values out(values.size());
  const std::size_t c = std::size_t(channels);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t outer = i / (inner * c), at = i / c % inner, channel = i % c;
    out[(outer * c + channel) * inner + at] = values[i];
  }
  return out;
}

double relative_rms(const Values& got, const Values& want) {
  double error = 0, square = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double(got[i]) - double(want[i]), 2);
    square += std::pow(double(want[i]), 2);
  }
  return std::sqrt(error / square);
}

// One convolution's operands on the device, in NHWC and KRSC or in NCHW and KCRS.
struct Operands {
  Tensor x, w, dy, y, dx;

  Operands(Device& device, const Conv2dShape& s, bool nchw) {
    const std::size_t in = std::size_t(s.h) * std::size_t(s.w), taps = std::size_t(s.r) * std::size_t(s.s);
    const std::size_t out = std::size_t(s.p()) * std::size_t(s.q());
    const auto put = [&](Values values, int channels, std::size_t inner) {
      if (nchw) values = channels_first(values, channels, inner);
      return Tensor::from_host(device, {std::int64_t(values.size())}, values);
    };
    x = put(random_values(s.input_size(), 1), s.c, in);
    w = put(random_values(s.weight_size(), 2), s.c, taps);
    dy = put(random_values(s.output_size(), 3), s.k, out);
    y = Tensor(device, dy.shape());
    dx = Tensor(device, x.shape());
  }
};

struct Measured {
  Times times;
  std::string algorithm;
  bool deterministic = true;
};

nlohmann::json to_json(const Measured& m) {
  return {{"median_us", m.times.median * 1e6}, {"p5_us", m.times.low * 1e6},
          {"p95_us", m.times.high * 1e6},      {"algorithm", m.algorithm},
          {"deterministic", m.deterministic},  {"graph", m.times.graph}};
}

class Cudnn {
 public:
  explicit Cudnn(Device& device)
      : device_(device), workspace_(device, {std::int64_t(workspace_bytes / sizeof(float))}) {
    CHECK(cudnnCreate(&handle_));
    CHECK(cudnnSetStream(handle_, stream()));
    CHECK(cudnnCreateTensorDescriptor(&x_));
    CHECK(cudnnCreateTensorDescriptor(&y_));
    CHECK(cudnnCreateFilterDescriptor(&w_));
    CHECK(cudnnCreateConvolutionDescriptor(&conv_));
  }
  ~Cudnn() {
    (void)cudnnDestroyConvolutionDescriptor(conv_);
    (void)cudnnDestroyFilterDescriptor(w_);
    (void)cudnnDestroyTensorDescriptor(y_);
    (void)cudnnDestroyTensorDescriptor(x_);
    (void)cudnnDestroy(handle_);
  }
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  cudaStream_t stream() const { return static_cast<cudaStream_t>(device_.stream().native); }

  void set(const Conv2dShape& s, bool nchw) {
    const cudnnTensorFormat_t format = nchw ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC;
    CHECK(cudnnSetTensor4dDescriptor(x_, format, CUDNN_DATA_FLOAT, s.n, s.c, s.h, s.w));
    CHECK(cudnnSetTensor4dDescriptor(y_, format, CUDNN_DATA_FLOAT, s.n, s.k, s.p(), s.q()));
    CHECK(cudnnSetFilter4dDescriptor(w_, CUDNN_DATA_FLOAT, format, s.k, s.c / s.groups, s.r, s.s));
    CHECK(cudnnSetConvolution2dDescriptor(conv_, s.pad_h, s.pad_w, s.stride_h, s.stride_w, s.dilation_h,
                                          s.dilation_w, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    CHECK(cudnnSetConvolutionGroupCount(conv_, s.groups));
    CHECK(cudnnSetConvolutionMathType(conv_, CUDNN_FMA_MATH));
  }

  // Both find every algorithm, run the acceptable ones and keep the fastest. `want` is our result in that layout.
  Measured fprop(const Operands& a, const Values& want, int runs) {
    static constexpr const char* names[] = {
        "IMPLICIT_GEMM", "IMPLICIT_PRECOMP_GEMM", "GEMM", "DIRECT", "FFT", "FFT_TILING",
        "WINOGRAD",      "WINOGRAD_NONFUSED"};
    cudnnConvolutionFwdAlgoPerf_t found[most_algorithms];
    int count = 0;
    CHECK(cudnnFindConvolutionForwardAlgorithmEx(handle_, x_, a.x.data(), w_, a.w.data(), conv_, y_,
                                                 a.y.data(), most_algorithms, &count, found,
                                                 workspace_.data(), workspace_bytes));
    const auto launch = [&](cudnnConvolutionFwdAlgo_t algorithm) {
      const float one = 1, zero = 0;
      CHECK(cudnnConvolutionForward(handle_, &one, x_, a.x.data(), w_, a.w.data(), conv_, algorithm,
                                    workspace_.data(), workspace_bytes, &zero, y_, a.y.data()));
    };
    return fastest(found, count, names, a.y, want, runs, launch);
  }

  Measured dgrad(const Operands& a, const Values& want, int runs) {
    static constexpr const char* names[] = {"ALGO_0",     "ALGO_1",   "FFT",
                                            "FFT_TILING", "WINOGRAD", "WINOGRAD_NONFUSED"};
    cudnnConvolutionBwdDataAlgoPerf_t found[most_algorithms];
    int count = 0;
    CHECK(cudnnFindConvolutionBackwardDataAlgorithmEx(handle_, w_, a.w.data(), y_, a.dy.data(), conv_, x_,
                                                      a.dx.data(), most_algorithms, &count, found,
                                                      workspace_.data(), workspace_bytes));
    const auto launch = [&](cudnnConvolutionBwdDataAlgo_t algorithm) {
      const float one = 1, zero = 0;
      CHECK(cudnnConvolutionBackwardData(handle_, &one, w_, a.w.data(), y_, a.dy.data(), conv_, algorithm,
                                         workspace_.data(), workspace_bytes, &zero, x_, a.dx.data()));
    };
    return fastest(found, count, names, a.dx, want, runs, launch);
  }

 private:
  template <class Perf, std::size_t N, class Launch>
  Measured fastest(const Perf* found, int count, const char* const (&names)[N], const Tensor& result,
                   const Values& want, int runs, const Launch& launch) {
    Measured best;
    best.algorithm = "none";
    for (int i = 0; i < count; ++i) {
      const Perf& perf = found[i];
      if (perf.status != CUDNN_STATUS_SUCCESS || perf.mathType != CUDNN_FMA_MATH) continue;
      launch(perf.algo);
      // fp32 sums, by Winograd or FFT too, agree to about 1e-5; TF32 would be off by 3e-4.
      if (!(relative_rms(result.to_host(), want) <= 5e-5)) continue;
      const Times times = time_launches(stream(), runs, [&] { launch(perf.algo); });
      if (best.times.median == 0 || times.median < best.times.median) {
        const std::size_t number = std::size_t(perf.algo);
        best = {times, number < N ? names[number] : fmt::format("number {}", number),
                perf.determinism == CUDNN_DETERMINISTIC};
      }
    }
    return best;
  }

  Device& device_;
  Tensor workspace_;
  cudnnHandle_t handle_ = nullptr;
  cudnnTensorDescriptor_t x_ = nullptr, y_ = nullptr;
  cudnnFilterDescriptor_t w_ = nullptr;
  cudnnConvolutionDescriptor_t conv_ = nullptr;
};

// cuDNN's time over ours: above 1, ours is faster. 0 where cuDNN has no algorithm.
double ratio(const Measured& theirs, const Measured& ours) {
  return theirs.times.median / ours.times.median;
}

}  // namespace

nlohmann::json compare_with_cudnn(Device& device, const std::vector<ConvCase>& cases, int runs) {
  if (device.kind() != DeviceKind::cuda) {
    fmt::print("no comparison with cuDNN: {} is no GPU\n", device.info().id);
    return nullptr;
  }
  runs = std::max(runs, 20);
  Cudnn cudnn(device);
  fmt::print(
      "cuDNN {}: fp32, TF32 off; microseconds, median of {} [5 %, 95 %]; ratio: cuDNN's time over ours\n",
      cudnnGetVersion(), runs);
  fmt::print("{:14} {:5} {:>26} {:>26} {:>6} {:>26} {:>6}\n", "layer", "", "ours", "cuDNN NHWC", "ratio",
             "cuDNN NCHW", "ratio");
  nlohmann::json rows = nlohmann::json::array();
  const auto report = [&](const ConvCase& c, const char* direction, const Measured& ours,
                          const Measured& nhwc, const Measured& nchw) {
    const auto text = [](const Measured& m) {
      return m.times.median == 0 ? std::string("-")
                                 : fmt::format("{:.2f} [{:.2f}, {:.2f}]", m.times.median * 1e6,
                                               m.times.low * 1e6, m.times.high * 1e6);
    };
    fmt::print("{:14} {:5} {:>26} {:>26} {:6.2f} {:>26} {:6.2f}\n", c.name, direction, text(ours), text(nhwc),
               ratio(nhwc, ours), text(nchw), ratio(nchw, ours));
    std::fflush(stdout);
    rows.push_back({{"layer", c.name},
                    {"count", c.count},
                    {"direction", direction},
                    {"macs", double(c.shape.macs())},
                    {"ours", to_json(ours)},
                    {"cudnn_nhwc", to_json(nhwc)},
                    {"cudnn_nchw", to_json(nchw)},
                    {"ratio_nhwc", ratio(nhwc, ours)},
                    {"ratio_nchw", ratio(nchw, ours)}});
  };
  for (const ConvCase& c : cases) {
    const Conv2dShape& s = c.shape;
    const Operands nhwc(device, s, false), nchw(device, s, true);
    const auto fprop = [&] {
      device.kernels().conv2d_fprop({.shape = s, .x = nhwc.x.data(), .w = nhwc.w.data(), .y = nhwc.y.data()},
                                    device.stream());
    };
    const auto dgrad = [&] {
      kernels::Conv2dDgrad a{.shape = s, .dy = {.signal = nhwc.dy.data()}, .w = nhwc.w.data()};
      a.dx = nhwc.dx.data();
      device.kernels().conv2d_dgrad(a, device.stream());
    };
    fprop();
    dgrad();
    const Values y = nhwc.y.to_host(), dx = nhwc.dx.to_host();
    const std::size_t out = std::size_t(s.p()) * std::size_t(s.q()), in = std::size_t(s.h) * std::size_t(s.w);
    const Measured our_fprop{time_launches(cudnn.stream(), runs, fprop),
                             kernels::conv_variant_name(kernels::select_fprop(s))};
    const Measured our_dgrad{time_launches(cudnn.stream(), runs, dgrad),
                             kernels::conv_variant_name(kernels::select_dgrad(s))};
    cudnn.set(s, false);
    const Measured fprop_nhwc = cudnn.fprop(nhwc, y, runs), dgrad_nhwc = cudnn.dgrad(nhwc, dx, runs);
    cudnn.set(s, true);
    const Measured fprop_nchw = cudnn.fprop(nchw, channels_first(y, s.k, out), runs);
    const Measured dgrad_nchw = cudnn.dgrad(nchw, channels_first(dx, s.c, in), runs);
    report(c, "fprop", our_fprop, fprop_nhwc, fprop_nchw);
    report(c, "dgrad", our_dgrad, dgrad_nhwc, dgrad_nchw);
  }
  return {{"version", cudnnGetVersion()}, {"runs", runs}, {"precision", "fp32, TF32 off"}, {"rows", rows}};
}

}  // namespace retrace::bench

#endif
