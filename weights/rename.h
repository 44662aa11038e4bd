// Renaming tensors by regular expressions that a user gives.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "weights/checkpoint.h"

namespace retrace::weights {

class Renaming {
 public:
  // REGEX=REPLACEMENT each: ECMAScript without back-references (so that matching takes polynomial time), $1 … for
  // groups; the last = parts them, so a regex may hold some. UsageError naming the rule if it has no =, is no such
  // regular expression or is over 512 characters long.
  explicit Renaming(std::span<const std::string> rules);

  bool empty() const;
  // Every match of each rule in order is replaced. Error naming the rule and the tensor if a name of over 512
  // characters is to be matched (std::regex recurses once a character), or becomes that of two tensors. A tensor of whose
  // name nothing is left is left out, and a note says so. Returns the places, before, of those that stay.
  std::vector<std::size_t> apply(Checkpoint& checkpoint) const;

 private:
  struct Rule;
  std::shared_ptr<const std::vector<Rule>> rules_;
};

}  // namespace retrace::weights
