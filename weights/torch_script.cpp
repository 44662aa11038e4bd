#include "weights/torch_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr int max_depth = 32;
constexpr std::size_t max_visits = 1'000'000;  // a module that is an attribute of several is met by each
constexpr std::size_t max_name_bytes = std::size_t(64) << 20;

class Finder {
 public:
  Finder(const Pickle& pickle, const std::string& path, std::size_t constants)
      : pickle_(pickle), path_(path), constants_(constants) {}

  StateDict find() {
    const PickleNode& root = pickle_[pickle_.root];
    if (root.kind != PickleKind::module) {
      fail(fmt::format("is a TorchScript program of a {}, expected a module", pickle_type_name(root)));
    }
    walk(root, "", 0);
    if (out_.tensors.empty()) {
      fail(constants_ == 0
               ? std::string("is a TorchScript program without parameters")
               : fmt::format(
                     "is a frozen TorchScript program (torch.jit.freeze): its {} tensors are constants "
                     "of its code and have no names; save the module before it is frozen",
                     constants_));
    }
    if (constants_ > 0) {
      out_.notes.push_back(fmt::format("{} constant{} of the program left out: without a name", constants_,
                                       constants_ == 1 ? "" : "s"));
    }
    if (!left_out_.empty()) {
      out_.notes.push_back(fmt::format("attributes that are no parameters left out: {}", listed(left_out_)));
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(fmt::format("{}: {}", path_, what)); }

  // Tensors first, then modules, as state_dict() does.
  void walk(const PickleNode& module, const std::string& prefix, int depth) {
    if (depth > max_depth) {
      fail(fmt::format("modules are nested more than {} deep at {}", max_depth, quote(prefix)));
    }
    for (const bool modules : {false, true}) {
      for (std::size_t i = 0; i + 1 < module.items.size(); i += 2) {
        if (++visits_ > max_visits) fail(fmt::format("more than {} attributes to look through", max_visits));
        const PickleNode& key = pickle_[module.items[i]];
        const PickleNode& value = pickle_[module.items[i + 1]];
        if ((value.kind == PickleKind::module) != modules) continue;
        const auto name = [&] {
          if (key.kind != PickleKind::text) {
            fail(fmt::format("an attribute of module {} has a {} for its name", quote(prefix),
                             pickle_type_name(key)));
          }
          charge(prefix.size() + 1 + key.text.size());
          return prefix.empty() ? std::string(key.text) : prefix + "." + std::string(key.text);
        };
        if (modules) {
          walk(value, name(), depth + 1);
        } else if (value.kind == PickleKind::tensor) {
          add(name(), std::size_t(value.integer));
        } else if (holds_tensors(value)) {
          left_out_.push_back(fmt::format("{} ({})", quote(name()), pickle_type_name(value)));
        }
      }
    }
  }

  void add(std::string name, std::size_t tensor) {
    if (!names_.insert(name).second) fail(fmt::format("two tensors are named {}", quote(name)));
    out_.tensors.emplace_back(std::move(name), tensor);
  }

  // Only for a note: what lies deeper need not be found.
  bool holds_tensors(const PickleNode& node) const {
    if (node.kind != PickleKind::list && node.kind != PickleKind::tuple && node.kind != PickleKind::dict)
      return false;
    constexpr std::size_t enough = 16;
    return std::any_of(node.items.begin(),
                       node.items.begin() + std::ptrdiff_t(std::min(enough, node.items.size())),
                       [&](PickleRef item) { return pickle_[item].kind == PickleKind::tensor; });
  }

  void charge(std::size_t bytes) {
    name_bytes_ += bytes;
    if (name_bytes_ > max_name_bytes) {
      fail(fmt::format("the names of its modules and tensors take more than {} bytes", max_name_bytes));
    }
  }

  const Pickle& pickle_;
  const std::string& path_;
  std::size_t constants_;
  StateDict out_;
  std::set<std::string> names_;
  std::vector<std::string> left_out_;
  std::size_t visits_ = 0, name_bytes_ = 0;
};

}  // namespace

StateDict find_module_tensors(const Pickle& pickle, const std::string& path, std::size_t constants) {
  return Finder(pickle, path, constants).find();
}

}  // namespace retrace::weights
