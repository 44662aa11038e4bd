// The only border between the engine and the kernels: one table of launchers per target. Every launcher has the
// form  void name(const Arguments&, Stream), validates what it is given and throws Error.
#pragma once
#include "kernels/conv/conv.h"
#include "kernels/ops/ops.h"
#include "kernels/ops/relevance.h"
#include "kernels/ops/train.h"
#include "kernels/stream.h"

namespace retrace::kernels {

// X(launcher, its arguments)
#define RETRACE_LAUNCHERS(X)                             \
  X(conv2d_fprop, Conv2dFprop)                           \
  X(conv2d_dgrad, Conv2dDgrad)                           \
  X(linear_fprop, LinearFprop)                           \
  X(linear_dgrad, LinearDgrad)                           \
  X(max_pool_fprop, MaxPoolFprop)                        \
  X(max_pool_backward, MaxPoolBackward)                  \
  X(avg_pool_fprop, AvgPoolFprop)                        \
  X(avg_pool_backward, AvgPoolBackward)                  \
  X(global_avg_pool_fprop, GlobalAvgPoolFprop)           \
  X(global_avg_pool_backward, GlobalAvgPoolBackward)     \
  X(adaptive_avg_pool_fprop, AdaptiveAvgPoolFprop)       \
  X(adaptive_avg_pool_backward, AdaptiveAvgPoolBackward) \
  X(relu_fprop, ReluFprop)                               \
  X(relu_backward, ReluBackward)                         \
  X(add_fprop, AddFprop)                                 \
  X(concat_fprop, ConcatFprop)                           \
  X(concat_backward, ConcatBackward)                     \
  X(shortcut_fprop, ShortcutFprop)                       \
  X(shortcut_backward, ShortcutBackward)                 \
  X(softmax_fprop, SoftmaxFprop)                         \
  X(softmax_backward, SoftmaxBackward)                   \
  X(normalize_u8, NormalizeU8)                           \
  X(grad_cam_weights, GradCamWeights)                    \
  X(cam_combine, CamCombine)                             \
  X(upsample_bilinear, UpsampleBilinear)                 \
  X(reduce_dot, ReduceDot)                               \
  X(fill, Fill)                                          \
  X(combine, Combine)                                    \
  X(multiply, Multiply)                                  \
  X(seed_targets, SeedTargets)                           \
  X(weight_part, WeightPart)                             \
  X(relu_pass, ReluPass)                                 \
  X(sign_select, SignSelect)                             \
  X(relevance_gate, RelevanceGate)                       \
  X(relevance_sums, RelevanceSums)                       \
  X(conv2d_wgrad, Conv2dWgrad)                           \
  X(linear_wgrad, LinearWgrad)                           \
  X(column_sums, ColumnSums)                             \
  X(batch_norm_fprop, BatchNormFprop)                    \
  X(batch_norm_backward, BatchNormBackward)              \
  X(cross_entropy, CrossEntropy)                         \
  X(dropout, Dropout)                                    \
  X(sgd_step, SgdStep)                                   \
  X(adamw_step, AdamWStep)                               \
  X(sum_squares, SumSquares)                             \
  X(clip_scale, ClipScale)

struct KernelTable {
#define X(name, Arguments) void (*name)(const Arguments&, Stream) = nullptr;
  RETRACE_LAUNCHERS(X)
#undef X
};

#define X(name, Arguments) void name(const Arguments&, Stream);
namespace sim {
RETRACE_LAUNCHERS(X)
}
namespace cuda {
RETRACE_LAUNCHERS(X)
}
#undef X

const KernelTable& sim_table();
// Null in a build without CUDA.
const KernelTable* cuda_table();

}  // namespace retrace::kernels
