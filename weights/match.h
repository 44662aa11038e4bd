// Strict loading: a checkpoint must hold exactly a model's tensors.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weights/checkpoint.h"

namespace retrace::weights {

struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
};

enum class MatchKind {
  taken,
  ignored,  // batch norm's counter, which the model does without
  missing,
  unexpected,
  wrong_shape
};
std::string_view match_name(MatchKind kind);  // "taken", … "wrong shape"

// One tensor of the file, or one that the model misses in it.
struct MatchRow {
  MatchKind kind;
  std::string name;
  std::optional<std::size_t> index;           // into the checkpoint's tensors; none: missing
  std::vector<std::int64_t> found, expected;  // shapes, where there are any
  bool differs() const { return kind != MatchKind::taken && kind != MatchKind::ignored; }
  // "'fc.weight' is missing", "'conv1.weight' is [16, 3, 3, 3], expected [64, 3, 7, 7]" …
  std::string text() const;
};

// The file's tensors in its order, then what is missing in the order of `expected`. Batch norm's counters,
// NAME.num_batches_tracked, may be there or not on either side.
std::vector<MatchRow> compare(const Checkpoint& checkpoint, std::span<const TensorSpec> expected);

// The checkpoint's tensors in the order of `expected` (whose names are unique). Throws one Error that lists
// by name the tensors that are missing, of another shape, or not expected. An expected counter that is missing comes
// back as 0 (i64), one that is not expected is ignored.
std::vector<HostTensor> match_tensors(const Checkpoint& checkpoint, std::span<const TensorSpec> expected);

}  // namespace retrace::weights
