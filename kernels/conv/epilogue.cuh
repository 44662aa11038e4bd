// What every convolution variant does with a finished sum. Shared, so that variants can differ only in how they
// add.
#pragma once
#include "kernels/conv/conv.h"
#include "kernels/signal.cuh"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

// alpha · sum + bias + residual, ReLU'd if asked for. `index` is the flat NPQK index of the output.
__device__ __forceinline__ float finish_output(const Conv2dFprop& a, float sum, long long index,
                                               int channel) {
  float y = a.alpha * sum;
  if (a.bias) y += a.bias[channel];
  if (a.residual) y += a.residual[index];
  return a.relu && y < 0 ? 0.0f : y;  // a NaN stays one
}

// mask ⊙ (alpha · part(multiply) · sum + pending)
__device__ __forceinline__ float finish_input(const Conv2dDgrad& a, float sum, long long pixel, int channel) {
  float dx = a.alpha * sum;
  if (a.multiply) dx *= part_of(a.part, a.multiply[pixel * a.shape.c + channel]);
  return finish_signal(a.epilogue, dx, pixel, channel, a.shape.c);
}

}  // namespace retrace::kernels::RETRACE_TARGET
