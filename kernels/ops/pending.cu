// Launchers that are declared and not yet written.
#include "kernels/conv/conv.h"
#include "kernels/error.h"
#include "kernels/ops/train.h"
#include "kernels/simt/simt.h"

namespace retrace::kernels::RETRACE_TARGET {

#define PENDING(name, Arguments) \
  void name(const Arguments&, Stream) { throw Error(#name ": not written yet"); }
PENDING(batch_norm_fprop, BatchNormFprop)
PENDING(batch_norm_backward, BatchNormBackward)
PENDING(cross_entropy, CrossEntropy)
PENDING(dropout, Dropout)
PENDING(sgd_step, SgdStep)
PENDING(adamw_step, AdamWStep)
PENDING(sum_squares, SumSquares)
PENDING(clip_scale, ClipScale)

}  // namespace retrace::kernels::RETRACE_TARGET
