#include "weights/match.h"

#include <fmt/format.h>

#include <set>
#include <unordered_map>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

bool is_counter(std::string_view name) {
  constexpr std::string_view counter = "num_batches_tracked";
  return name == counter || name.ends_with(".num_batches_tracked");
}

HostTensor zero_counter(const TensorSpec& spec) {
  HostTensor tensor{spec.name, DType::i64, spec.shape, nullptr};
  const std::shared_ptr<std::byte[]> memory(new std::byte[tensor.byte_size() + 1]());
  tensor.data = {memory, memory.get()};
  return tensor;
}

}  // namespace

std::string_view match_name(MatchKind kind) {
  switch (kind) {
    case MatchKind::taken:
      return "taken";
    case MatchKind::ignored:
      return "ignored";
    case MatchKind::missing:
      return "missing";
    case MatchKind::unexpected:
      return "unexpected";
    case MatchKind::wrong_shape:
      return "wrong shape";
  }
  return "?";
}

std::string MatchRow::text() const {
  if (kind != MatchKind::wrong_shape) return fmt::format("{} is {}", quote(name), match_name(kind));
  return fmt::format("{} is {}, expected {}", quote(name), shape_text(found), shape_text(expected));
}

std::vector<MatchRow> compare(const Checkpoint& checkpoint, std::span<const TensorSpec> expected) {
  std::unordered_map<std::string_view, const TensorSpec*> specs;
  for (const TensorSpec& spec : expected) specs.emplace(spec.name, &spec);
  std::vector<MatchRow> rows;
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    const HostTensor& tensor = checkpoint.tensors[i];
    const auto spec = specs.find(tensor.name);
    if (spec == specs.end()) {
      rows.push_back({is_counter(tensor.name) ? MatchKind::ignored : MatchKind::unexpected,
                      tensor.name,
                      i,
                      tensor.shape,
                      {}});
      continue;
    }
    seen.insert(tensor.name);
    const bool same = spec->second->shape == tensor.shape;
    rows.push_back({same ? MatchKind::taken : MatchKind::wrong_shape, tensor.name, i, tensor.shape,
                    spec->second->shape});
  }
  for (const TensorSpec& spec : expected) {
    if (seen.contains(spec.name) || is_counter(spec.name)) continue;
    rows.push_back({MatchKind::missing, spec.name, {}, {}, spec.shape});
  }
  return rows;
}

std::vector<HostTensor> match_tensors(const Checkpoint& checkpoint, std::span<const TensorSpec> expected) {
  std::unordered_map<std::string_view, const HostTensor*> found;
  std::vector<std::string> missing, shapes, unexpected;
  for (const MatchRow& row : compare(checkpoint, expected)) {
    if (row.kind == MatchKind::missing) missing.push_back(quote(row.name));
    if (row.kind == MatchKind::unexpected) unexpected.push_back(quote(row.name));
    if (row.kind == MatchKind::wrong_shape) {
      shapes.push_back(fmt::format("{} found {} expected {}", quote(row.name), shape_text(row.found),
                                   shape_text(row.expected)));
    }
    if (row.kind == MatchKind::taken) {
      const HostTensor& tensor = checkpoint.tensors[*row.index];
      found.emplace(tensor.name, &tensor);
    }
  }

  std::string problems;
  const auto report = [&](const char* what, const std::vector<std::string>& items) {
    if (items.empty()) return;
    problems += fmt::format("{}{} {}: {}", problems.empty() ? "" : "; ", items.size(), what, listed(items));
  };
  report("missing", missing);
  report("of another shape", shapes);
  report("unexpected", unexpected);
  if (!problems.empty()) {
    throw Error(fmt::format("{}: does not fit the model: {}", checkpoint.path, problems));
  }
  std::vector<HostTensor> out;
  for (const TensorSpec& spec : expected) {
    const auto entry = found.find(spec.name);
    out.push_back(entry == found.end() ? zero_counter(spec) : *entry->second);
  }
  return out;
}

}  // namespace retrace::weights
