#include "weights/state_dict.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::string_view wrappers[] = {"state_dict", "model_state_dict", "model_state", "model", "net",
                                         "network",    "params",           "weights",     "module"};
constexpr std::string_view averages[] = {"state_dict_ema", "model_ema",      "ema",
                                         "ema_model",      "ema_state_dict", "model_ema_state_dict"};
constexpr std::string_view training_state[] = {"optim", "scheduler", "lr_scheduler", "scaler"};
constexpr int max_depth = 32;
// Shared containers let a small file name its tensors over and over.
constexpr std::size_t max_visits = 1'000'000;
constexpr std::size_t max_name_bytes = std::size_t(64) << 20;

class Finder {
 public:
  Finder(const Pickle& pickle, const std::string& path) : pickle_(pickle), path_(path) {}

  StateDict find() {
    mark_holders();
    StateDict found = find_from(pickle_.root, false);
    if (!averaged_) return found;
    const auto [key, start] = *averaged_;
    StateDict averaged = Finder(pickle_, path_, holds_tensor_).find_from(start, true);
    if (found.tensors.empty()) {
      found.tensors = std::move(averaged.tensors);
      found.notes.push_back(
          fmt::format("averaged weights taken from entry {}: there are no others", quote(key)));
      found.notes.insert(found.notes.end(), averaged.notes.begin(), averaged.notes.end());
    } else {
      found.averaged = std::move(averaged.tensors);
      found.averaged_key = key;
    }
    return found;
  }

 private:
  Finder(const Pickle& pickle, const std::string& path, std::vector<bool> holds_tensor)
      : pickle_(pickle), path_(path), holds_tensor_(std::move(holds_tensor)) {}

  StateDict find_from(PickleRef at, bool wrapped) {
    for (int depth = 0; depth < max_depth; ++depth) {
      const auto inner = wrapper_of(at);
      if (!inner) break;
      at = inner->second;
      wrapped = true;
      out_.notes.push_back(fmt::format("weights taken from entry {}", quote(inner->first)));
    }
    if (pickle_[at].kind == PickleKind::tensor) {
      add("tensor", at);
    } else {
      flatten(at, "", 0, /*root=*/!wrapped);
    }
    if (out_.tensors.empty() && !averaged_) {
      throw Error(fmt::format("{}: holds no tensors, only {}", path_, describe(pickle_.root)));
    }
    note_list("left out beside the weights", beside_);
    note_list("entries without a tensor left out", without_tensor_);
    strip_prefixes();
    std::set<std::string_view> names;
    for (const auto& [name, tensor] : out_.tensors) {
      if (!names.insert(name).second) {
        throw Error(fmt::format("{}: two tensors are named {}", path_, quote(name)));
      }
    }
    return std::move(out_);
  }

  bool is_container(const PickleNode& node) const {
    return node.kind == PickleKind::dict || node.kind == PickleKind::list || node.kind == PickleKind::tuple;
  }

  // Marks every node from which a tensor can be reached, walking back from the tensors: each link is followed
  // once, however the containers are knotted.
  void mark_holders() {
    std::vector<std::vector<PickleRef>> owners(pickle_.nodes.size());
    std::vector<PickleRef> open;
    for (PickleRef ref = 0; ref < pickle_.nodes.size(); ++ref) {
      if (pickle_[ref].kind == PickleKind::tensor) open.push_back(ref);
      if (!is_container(pickle_[ref])) continue;
      for (const PickleRef item : pickle_[ref].items) owners[item].push_back(ref);
    }
    holds_tensor_.resize(pickle_.nodes.size());
    while (!open.empty()) {
      const PickleRef ref = open.back();
      open.pop_back();
      if (holds_tensor_[ref]) continue;
      holds_tensor_[ref] = true;
      open.insert(open.end(), owners[ref].begin(), owners[ref].end());
    }
  }

  // The wrapper entry of a dict, and notes about everything beside it.
  std::optional<std::pair<std::string, PickleRef>> wrapper_of(PickleRef ref) {
    const PickleNode& dict = pickle_[ref];
    if (dict.kind != PickleKind::dict) return std::nullopt;
    for (const std::string_view key : wrappers) {
      for (std::size_t i = 0; i < dict.items.size(); i += 2) {
        const PickleNode& name = pickle_[dict.items[i]];
        const PickleRef value = dict.items[i + 1];
        if (name.kind != PickleKind::text || name.text != key) continue;
        if (pickle_[value].kind != PickleKind::dict || !holds_tensor_[value]) continue;
        for (std::size_t j = 0; j < dict.items.size(); j += 2) {
          if (j != i && !set_average_apart(dict.items[j], dict.items[j + 1])) {
            keep_aside(dict.items[j], dict.items[j + 1]);
          }
        }
        return std::pair{std::string(key), value};
      }
    }
    return std::nullopt;
  }

  // Whether the entry is a dict of averaged weights, the first one seen.
  bool set_average_apart(PickleRef key, PickleRef value) {
    const std::string_view name = pickle_[key].text;
    if (averaged_ || pickle_[key].kind != PickleKind::text || pickle_[value].kind != PickleKind::dict ||
        !holds_tensor_[value] ||
        std::find(std::begin(averages), std::end(averages), name) == std::end(averages)) {
      return false;
    }
    averaged_.emplace(std::string(name), value);
    return true;
  }

  // An entry that is no weight: its value if it is a number or text, else a mention.
  void keep_aside(PickleRef key, PickleRef value) {
    const std::string name = key_text(key);
    const PickleNode& node = pickle_[value];
    switch (node.kind) {
      case PickleKind::boolean:
        out_.metadata[name] = node.integer ? "True" : "False";
        break;
      case PickleKind::integer:
        out_.metadata[name] = fmt::format("{}", node.integer);
        break;
      case PickleKind::real:
        out_.metadata[name] = fmt::format("{}", node.real);
        break;
      case PickleKind::text:
        out_.metadata[name] = std::string(node.text);
        break;
      case PickleKind::none:
        break;
      default:
        beside_.push_back(fmt::format("{} ({})", quote(name), pickle_type_name(node)));
    }
  }

  std::string key_text(PickleRef key) const {
    const PickleNode& node = pickle_[key];
    if (node.kind == PickleKind::text) return std::string(node.text);
    if (node.kind == PickleKind::integer) return std::to_string(node.integer);
    return fmt::format("<{}>", pickle_type_name(node));
  }

  void add(std::string name, PickleRef tensor) {
    name_bytes_ += name.size();
    if (name_bytes_ > max_name_bytes) {
      throw Error(fmt::format("{}: the names of its tensors take more than {} bytes", path_, max_name_bytes));
    }
    out_.tensors.emplace_back(std::move(name), std::size_t(pickle_[tensor].integer));
  }

  void flatten(PickleRef ref, const std::string& prefix, int depth, bool root) {
    if (depth > max_depth) {
      throw Error(
          fmt::format("{}: containers are nested more than {} deep at {}", path_, max_depth, quote(prefix)));
    }
    const PickleNode& node = pickle_[ref];
    if (!holds_tensor_[ref]) return;
    const bool dict = node.kind == PickleKind::dict;
    for (std::size_t i = 0; i < node.items.size(); i += dict ? 2 : 1) {
      if (++visits_ > max_visits) {
        throw Error(fmt::format("{}: more than {} entries to look through", path_, max_visits));
      }
      const PickleRef value = node.items[dict ? i + 1 : i];
      const std::string key = dict ? key_text(node.items[i]) : std::to_string(i);
      const std::string name = prefix.empty() ? key : prefix + "." + key;
      const PickleNode& item = pickle_[value];
      if (item.kind == PickleKind::tensor) {
        add(name, value);
      } else if (root && dict && set_average_apart(node.items[i], value)) {
        continue;
      } else if (root && dict && is_training_state(key)) {
        keep_aside(node.items[i], value);
      } else if (holds_tensor_[value]) {
        flatten(value, name, depth + 1, false);
      } else if (root && dict) {
        keep_aside(node.items[i], value);
      } else if (dict) {
        // Numbers inside lists are left out without a word: loss curves can be long.
        without_tensor_.push_back(fmt::format("{} ({})", quote(name), pickle_type_name(item)));
      }
    }
  }

  static bool is_training_state(std::string_view key) {
    return std::any_of(std::begin(training_state), std::end(training_state),
                       [&](std::string_view start) { return key.starts_with(start); });
  }

  void strip_prefixes() {
    for (const std::string_view prefix : {"module.", "_orig_mod."}) {
      const auto has = [&](const auto& entry) {
        return entry.first.size() > prefix.size() && entry.first.starts_with(prefix);
      };
      if (out_.tensors.empty() || !std::all_of(out_.tensors.begin(), out_.tensors.end(), has)) continue;
      for (auto& [name, tensor] : out_.tensors) name.erase(0, prefix.size());
      out_.notes.push_back(fmt::format("prefix {} removed from every name", quote(prefix)));
    }
  }

  void note_list(const char* what, const std::vector<std::string>& items) {
    if (!items.empty()) out_.notes.push_back(fmt::format("{}: {}", what, listed(items)));
  }

  std::string describe(PickleRef ref) const {
    const PickleNode& node = pickle_[ref];
    if (node.kind != PickleKind::dict) return fmt::format("a {}", pickle_type_name(node));
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < node.items.size(); i += 2) keys.push_back(quote(key_text(node.items[i])));
    return keys.empty() ? "an empty dict" : fmt::format("a dict of {}", listed(keys));
  }

  const Pickle& pickle_;
  const std::string& path_;
  StateDict out_;
  std::vector<std::string> beside_, without_tensor_;
  std::vector<bool> holds_tensor_;
  std::optional<std::pair<std::string, PickleRef>> averaged_;
  std::size_t visits_ = 0, name_bytes_ = 0;
};

}  // namespace

StateDict find_state_dict(const Pickle& pickle, const std::string& path) {
  return Finder(pickle, path).find();
}

}  // namespace retrace::weights
