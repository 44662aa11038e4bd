#include "kernels/table.h"

namespace retrace::kernels {

const KernelTable& sim_table() {
#define X(name, Arguments) &sim::name,
  static const KernelTable table{RETRACE_LAUNCHERS(X)};
#undef X
  return table;
}

const KernelTable* cuda_table() {
#ifdef RETRACE_HAS_CUDA
#define X(name, Arguments) &cuda::name,
  static const KernelTable table{RETRACE_LAUNCHERS(X)};
#undef X
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace retrace::kernels
