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

std::vector<HostTensor> match_tensors(const Checkpoint& checkpoint, std::span<const TensorSpec> expected) {
  std::unordered_map<std::string_view, const HostTensor*> found;
  for (const HostTensor& tensor : checkpoint.tensors) found.emplace(tensor.name, &tensor);

  std::vector<HostTensor> out;
  std::vector<std::string> missing, shapes, unexpected;
  std::set<std::string_view> names;
  for (const TensorSpec& spec : expected) {
    names.insert(spec.name);
    const auto entry = found.find(spec.name);
    if (entry == found.end()) {
      if (is_counter(spec.name)) {
        out.push_back(zero_counter(spec));
      } else {
        missing.push_back(quote(spec.name));
      }
    } else if (entry->second->shape != spec.shape) {
      shapes.push_back(fmt::format("{} found {} expected {}", quote(spec.name),
                                   shape_text(entry->second->shape), shape_text(spec.shape)));
    } else {
      out.push_back(*entry->second);
    }
  }
  for (const HostTensor& tensor : checkpoint.tensors) {
    if (!names.contains(tensor.name) && !is_counter(tensor.name)) unexpected.push_back(quote(tensor.name));
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
  return out;
}

}  // namespace retrace::weights
