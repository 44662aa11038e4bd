// Strict loading: a checkpoint must hold exactly a model's tensors.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "weights/checkpoint.h"

namespace retrace::weights {

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
};

// The checkpoint's tensors in the order of `expected` (whose names are unique). Throws one Error that lists
// by name the tensors that are missing, of another shape, or not expected. Batch norm's counters,
// NAME.num_batches_tracked, may be there or not on either side: an expected one that is missing comes back as
// 0 (i64), one that is not expected is ignored.
std::vector<HostTensor> match_tensors(const Checkpoint& checkpoint, std::span<const TensorSpec> expected);

}  // namespace retrace::weights
