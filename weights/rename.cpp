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

std::vector<std::size_t> Renaming::apply(Checkpoint& checkpoint) const {
  std::vector<std::size_t> kept;
  if (rules_->empty()) {
    for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) kept.push_back(i);
    return kept;
  }
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("{}: --map: {}", checkpoint.path, what));
  };
  std::map<std::string, std::string> before;  // new name -> old name
  std::vector<HostTensor> tensors;
  std::vector<std::string> left_out;
  for (std::size_t i = 0; i < checkpoint.tensors.size(); ++i) {
    HostTensor& tensor = checkpoint.tensors[i];
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
      if (tensor.name.empty()) break;
    }
    if (tensor.name.empty()) {
      left_out.push_back(quote(old));
      continue;
    }
    if (const auto [at, fresh] = before.emplace(tensor.name, old); !fresh) {
      fail(fmt::format("{} and {} both become {}", quote(at->second), quote(old), quote(tensor.name)));
    }
    kept.push_back(i);
    tensors.push_back(std::move(tensor));
  }
  checkpoint.tensors = std::move(tensors);
  if (!left_out.empty()) {
    checkpoint.notes.push_back(
        fmt::format("left out because --map leaves nothing of the name: {}", listed(left_out)));
  }
  return kept;
}

}  // namespace retrace::weights
