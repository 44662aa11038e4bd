// How long launches on a stream take, by the GPU's own clock.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kernels/error.h"

namespace retrace::bench {

inline void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();
  throw Error(std::string(call) + ": " + cudaGetErrorString(status));
}
#define BENCH_CUDA(call) ::retrace::bench::check_cuda(call, #call)

struct Times {
  double median = 0, low = 0, high = 0;  // seconds a launch; 5th and 95th percentile over the runs
  bool graph = false;                    // replayed as a graph, so that the host's own time is not in it
};

// `count` launches as one graph; null where something in them cannot be captured.
inline cudaGraphExec_t capture(cudaStream_t stream, int count, const std::function<void()>& launch) {
  bool captured = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  if (captured) {
    try {
      for (int i = 0; i < count; ++i) launch();
    } catch (const Error&) {
      captured = false;
    }
    captured = cudaStreamEndCapture(stream, &graph) == cudaSuccess && captured;
  }
  if (captured && cudaGraphInstantiate(&exec, graph, 0) != cudaSuccess) exec = nullptr;
  if (graph) (void)cudaGraphDestroy(graph);
  (void)cudaGetLastError();
  return exec;
}

// A run repeats the launch until about 2 ms have passed; the first three runs are not counted. Operands stay where
// they are ("warm": they may sit in a cache).
inline Times time_launches(cudaStream_t stream, int runs, const std::function<void()>& launch) {
  cudaEvent_t begin = nullptr, end = nullptr;
  BENCH_CUDA(cudaEventCreate(&begin));
  BENCH_CUDA(cudaEventCreate(&end));
  const auto seconds = [&](const std::function<void()>& work) {
    BENCH_CUDA(cudaEventRecord(begin, stream));
    work();
    BENCH_CUDA(cudaEventRecord(end, stream));
    BENCH_CUDA(cudaEventSynchronize(end));
    float milliseconds = 0;
    BENCH_CUDA(cudaEventElapsedTime(&milliseconds, begin, end));
    return double(milliseconds) * 1e-3;
  };
  launch();  // the first one also loads the kernel
  const int count = int(std::clamp(2e-3 / std::max(seconds(launch), 1e-7), 1.0, 500.0));
  Times times;
  cudaGraphExec_t exec = capture(stream, count, launch);
  times.graph = exec != nullptr;
  const std::function<void()> run = [&] {
    if (exec) {
      BENCH_CUDA(cudaGraphLaunch(exec, stream));
    } else {
      for (int i = 0; i < count; ++i) launch();
    }
  };
  std::vector<double> all;
  for (int i = -3; i < runs; ++i) {
    const double t = seconds(run) / count;
    if (i >= 0) all.push_back(t);
  }
  std::sort(all.begin(), all.end());
  const auto at = [&](double p) { return all[std::size_t(p * double(all.size() - 1) + 0.5)]; };
  times.median = at(0.5), times.low = at(0.05), times.high = at(0.95);
  if (exec) (void)cudaGraphExecDestroy(exec);
  (void)cudaEventDestroy(begin);
  (void)cudaEventDestroy(end);
  return times;
}

}  // namespace retrace::bench
