# Every op but convolution, on each target; philox.cu is a kernel of its own, on the simulator.
retrace_simulate(ops/philox.cu)
retrace_test(ops DEVICE LIBRARIES retrace_test_device SOURCES
  ops/activation.cpp
  ops/adaptive_pool.cpp
  ops/batch_norm.cpp
  ops/cam.cpp
  ops/concat.cpp
  ops/cross_entropy.cpp
  ops/dropout.cpp
  ops/elementwise.cpp
  ops/linear.cpp
  ops/linear_wgrad.cpp
  ops/normalize.cpp
  ops/optimizer.cpp
  ops/philox.cu
  ops/pool.cpp
  ops/reduce.cpp
  ops/relevance.cpp
  ops/shortcut.cpp
  ops/signal.cpp
  ops/softmax.cpp
  ops/train_refusals.cpp
)
