# Every kernel file, compiled once for each target. Paths are relative to this folder.
set(RETRACE_KERNEL_SOURCES
  conv/direct.cu
  conv/tiled.cu
  conv/launch.cu
  ops/activation.cu
  ops/cam.cu
  ops/elementwise.cu
  ops/linear.cu
  ops/normalize.cu
  ops/pending.cu
  ops/pool.cu
  ops/reduce.cu
  ops/relevance.cu
  ops/shortcut.cu
  ops/softmax.cu
)
