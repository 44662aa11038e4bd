// The names that weights bear in the field, and how they become a model's own (torchvision's).
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/checkpoint.h"

namespace retrace::weights {

// "stages.{s}.layers.{b}.*" -> "layer{s+1}.{b}.*": {x} stands for a number of up to four digits, {x+3} for that
// plus 3; a * at the end for whatever is left, which is not empty.
struct NameRule {
  std::string_view from, to;
};

// One family of names. A name passes through the rules in order; each that matches rewrites it.
struct NameConvention {
  std::string_view title;  // "Hugging Face names"
  std::vector<NameRule> rules;
};

// A new family is one more entry here.
const std::vector<NameConvention>& name_conventions();

// The name by that rule, or the name itself where the rule does not match.
std::string apply_rule(const NameRule& rule, const std::string& name);

// One way to read the names of a file.
struct Naming {
  std::string prefix;              // removed from every name; empty: none
  std::string convention;          // its title; empty: names are taken as they are
  std::vector<std::string> names;  // the new names, in the file's order; empty: as they are

  bool plain() const { return names.empty(); }
  // "prefix 'model.' removed from every name", "Hugging Face names"; nothing for a plain one.
  std::vector<std::string> notes() const;
};

// Every way to read these names, the simplest first: as they are; without a prefix that all share up to a dot; by each
// convention that changes any, without and with a prefix. Ways that give two tensors one name are left out; of over 10 000 names there is only
// the first way.
std::vector<Naming> namings(std::span<const HostTensor> tensors);

// The same tensors under those names.
Checkpoint renamed(const Checkpoint& checkpoint, const Naming& naming);

// What a checkpoint of torchvision-like names that fits nothing seems to be: "a ResNet with a
// deep stem (…)". Empty otherwise.
std::string known_misfit(const Checkpoint& checkpoint);

// Tensors whose names begin with ema., model_ema. or ema_model., beside others without: moves them to
// `checkpoint.averaged`, and says so in a note. Leaves out AveragedModel's counter.
void set_averaged_apart(Checkpoint& checkpoint);

// Takes the averaged weights instead of the plain ones. Error naming the file if it has none.
void take_averaged(Checkpoint& checkpoint);

}  // namespace retrace::weights
