#include "weights/rename.h"

#include <fmt/format.h>

#include <map>
#include <regex>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::size_t longest = 512;

// libstdc++ offers a matcher without backtracking, so that (a*)*b does not take for ever on aaaa…; it knows no
// back-references, and refuses them.
#ifdef __GLIBCXX__
constexpr auto syntax = std::regex::ECMAScript | std::regex_constants::__polynomial;
#else
constexpr auto syntax = std::regex::ECMAScript;
#endif

}  // namespace

struct Renaming::Rule {
  std::string text;
  std::regex pattern;
  std::string replacement;
};

Renaming::Renaming(std::span<const std::string> rules) {
  std::vector<Rule> made;
  for (const std::string& rule : rules) {
    const std::size_t equals = rule.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError(fmt::format("--map {}: expected REGEX=REPLACEMENT", quote(rule)));
    }
    if (rule.size() > longest) {
      throw UsageError(
          fmt::format("--map {}: {} characters, expected at most {}", quote(rule), rule.size(), longest));
    }
    try {
      made.push_back({rule, std::regex(rule.substr(0, equals), syntax), rule.substr(equals + 1)});
    } catch (const std::regex_error& error) {
      throw UsageError(fmt::format("--map {}: no regular expression: {}", quote(rule), error.what()));
    }
  }
  rules_ = std::make_shared<const std::vector<Rule>>(std::move(made));
}

bool Renaming::empty() const {
  return rules_->empty();
}

void Renaming::apply(Checkpoint& checkpoint) const {
  if (rules_->empty()) return;
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("{}: --map: {}", checkpoint.path, what));
  };
  std::map<std::string, std::string> before;  // new name -> old name
  for (HostTensor& tensor : checkpoint.tensors) {
    const std::string old = tensor.name;
    for (const Rule& rule : *rules_) {
      if (tensor.name.size() > longest) {
        fail(fmt::format("the name {} has {} characters, expected at most {}", quote(tensor.name),
                         tensor.name.size(), longest));
      }
      try {
        tensor.name = std::regex_replace(tensor.name, rule.pattern, rule.replacement);
      } catch (const std::regex_error& error) {
        fail(fmt::format("{} on {}: {}", quote(rule.text), quote(tensor.name), error.what()));
      }
      if (tensor.name.empty()) fail(fmt::format("{} leaves nothing of {}", quote(rule.text), quote(old)));
    }
    if (const auto [at, fresh] = before.emplace(tensor.name, old); !fresh) {
      fail(fmt::format("{} and {} both become {}", quote(at->second), quote(old), quote(tensor.name)));
    }
  }
}

}  // namespace retrace::weights
