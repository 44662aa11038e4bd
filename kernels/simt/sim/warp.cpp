// What the last lane to come does for all of its warp.
#include "kernels/simt/sim_warp.h"

namespace retrace::simt {

void shuffle_together(void* const* operands, unsigned mask) {
  std::uint64_t brought[32];
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) brought[lane] = static_cast<ShuffleOperand*>(operands[lane])->bits;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    auto& operand = *static_cast<ShuffleOperand*>(operands[lane]);
    const int source = operand.source;
    if (source < 0 || source > 31 || !(mask >> source & 1)) {
      operand.source = -1;  // the lane reports itself when it goes on
    } else {
      operand.bits = brought[source];
    }
  }
}

void ballot_together(void* const* operands, unsigned mask) {
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) bits |= *static_cast<unsigned*>(operands[lane]) << lane;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) *static_cast<unsigned*>(operands[lane]) = bits;
  }
}

void add_together(void* const* operands, unsigned mask) {
  unsigned sum = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) sum += *static_cast<unsigned*>(operands[lane]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) *static_cast<unsigned*>(operands[lane]) = sum;
  }
}

}  // namespace retrace::simt
