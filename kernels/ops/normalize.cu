// Pixels to network input: y = (pixel / 255 − mean[c]) / std[c], computed as pixel · scale[c] + shift[c] with
// scale = 1 / (255 · std) and shift = −mean / std made on the host in double.
//
// Shapes: pixels [n, h, w, c] bytes, y [n, h, w, c] float32, c from 1 to 4.
//
// Launch: one block of 256 threads per 4096 values; each thread takes 4 groups of 4 neighbouring values, 1024
// apart. Groups cross pixels, so a value's channel is its index modulo c.
#include <cmath>

#include "kernels/ops/common.cuh"
#include "kernels/ops/ops.h"

namespace retrace::kernels::RETRACE_TARGET {
namespace {

constexpr int threads = 256;
constexpr int groups = 4;

struct Channels {
  float scale[4], shift[4];
};

// Chosen by comparison: indexing a parameter by a run-time number would move it to local memory.
__device__ __forceinline__ float normalized(const Channels& t, int ch, float pixel) {
  const float scale = ch == 0 ? t.scale[0] : ch == 1 ? t.scale[1] : ch == 2 ? t.scale[2] : t.scale[3];
  const float shift = ch == 0 ? t.shift[0] : ch == 1 ? t.shift[1] : ch == 2 ? t.shift[2] : t.shift[3];
  return pixel * scale + shift;
}

__global__ void __launch_bounds__(threads)
    normalize(long long count, int c, bool wide, Channels t, const std::uint8_t* pixels, float* y) {
#pragma unroll
  for (int g = 0; g < groups; ++g) {
    const long long i = (blockIdx.x * 1LL * groups + g) * threads * 4 + threadIdx.x * 4;
    if (i >= count) return;
    long long pixel;
    int ch;
    split_index(i, c, pixel, ch);
    if (wide && i + 4 <= count) {
      const unsigned four = *reinterpret_cast<const unsigned*>(pixels + i);
      float v[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        v[j] = normalized(t, ch, float(four >> (8 * j) & 255));
        ch = ch + 1 == c ? 0 : ch + 1;
      }
      store_wide<4>(y + i, v);
    } else {
      for (int j = 0; j < 4 && i + j < count; ++j) {
        y[i + j] = normalized(t, ch, float(pixels[i + j]));
        ch = ch + 1 == c ? 0 : ch + 1;
      }
    }
  }
}

}  // namespace

void normalize_u8(const NormalizeU8& a, Stream stream) {
  check_positive("normalize_u8", "n", a.n);
  check_positive("normalize_u8", "h", a.h);
  check_positive("normalize_u8", "w", a.w);
  if (a.c < 1 || a.c > 4) refuse("normalize_u8", "c", std::to_string(a.c), "1 to 4");
  check_pointer("normalize_u8", "pixels", a.pixels);
  check_pointer("normalize_u8", "y", a.y);
  Channels t{};
  for (int ch = 0; ch < a.c; ++ch) {
    if (!std::isfinite(a.mean[ch])) {
      refuse("normalize_u8", "mean[" + std::to_string(ch) + "]", std::to_string(a.mean[ch]),
             "a finite number");
    }
    if (!(a.std[ch] > 0 && std::isfinite(a.std[ch]))) {
      refuse("normalize_u8", "std[" + std::to_string(ch) + "]", std::to_string(a.std[ch]), "more than 0");
    }
    t.scale[ch] = float(1.0 / (255.0 * double(a.std[ch])));
    t.shift[ch] = float(-double(a.mean[ch]) / double(a.std[ch]));
  }
  const long long count = checked_elements("normalize_u8", "y", {a.n, a.h, a.w, a.c});
  check_apart("normalize_u8", {"y", a.y, 4 * count}, {"pixels", a.pixels, count});
  const bool wide = aligned({a.pixels}, 4) && aligned({a.y}, 16);
  launch<normalize>(grid_of("normalize_u8", blocks_for(count, threads * groups * 4)), threads, 0, stream)(
      count, a.c, wide, t, a.pixels, a.y);
}

}  // namespace retrace::kernels::RETRACE_TARGET
