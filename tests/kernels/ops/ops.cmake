# Every op but convolution, on each target.
retrace_test(ops DEVICE LIBRARIES retrace_test_device SOURCES
  ops/activation.cpp
  ops/batch_norm.cpp
  ops/cam.cpp
  ops/elementwise.cpp
  ops/linear.cpp
  ops/linear_wgrad.cpp
  ops/normalize.cpp
  ops/pool.cpp
  ops/reduce.cpp
  ops/shortcut.cpp
  ops/signal.cpp
  ops/softmax.cpp
)
