#include "weights/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {
namespace {

constexpr std::size_t most_names = 10'000;  // the largest network here has under 1000
constexpr std::size_t most_digits = 4;
constexpr std::size_t deepest_prefix = 8;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// What a rule's pattern found in a name.
struct Found {
  std::vector<std::pair<char, int>> numbers;  // by their letters
  std::string rest;

  int number(char letter) const {
    const auto at =
        std::find_if(numbers.begin(), numbers.end(), [&](const auto& n) { return n.first == letter; });
    if (at == numbers.end()) throw Error(fmt::format("name rule: {{{}}} stands for nothing", letter));
    return at->second;
  }
};

bool match(std::string_view pattern, std::string_view name, Found& found) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '*' && i + 1 == pattern.size()) {
      found.rest = name.substr(at);
      return !found.rest.empty();
    }
    if (pattern[i] == '{') {
      std::size_t end = at;
      int value = 0;
      while (end < name.size() && is_digit(name[end]) && end - at < most_digits) {
        value = 10 * value + (name[end++] - '0');
      }
      if (end == at) return false;
      found.numbers.emplace_back(pattern[i + 1], value);
      at = end;
      i += 2;  // letter and brace
    } else {
      if (at == name.size() || name[at] != pattern[i]) return false;
      ++at;
    }
  }
  return at == name.size();
}

// The beginnings, up to a dot, that all names share and that leave something of each.
std::vector<std::string> common_prefixes(const std::vector<std::string>& names) {
  std::vector<std::string> prefixes;
  if (names.empty()) return prefixes;
  for (std::size_t dot = names[0].find('.'); dot != std::string::npos && prefixes.size() < deepest_prefix;
       dot = names[0].find('.', dot + 1)) {
    const std::string prefix = names[0].substr(0, dot + 1);
    const bool shared = std::all_of(names.begin(), names.end(), [&](const std::string& name) {
      return name.size() > prefix.size() && name.starts_with(prefix);
    });
    if (!shared) break;
    prefixes.push_back(prefix);
  }
  return prefixes;
}

bool all_different(const std::vector<std::string>& names) {
  return std::set<std::string_view>(names.begin(), names.end()).size() == names.size();
}

constexpr std::array<std::string_view, 3> averaged_prefixes{"ema.", "model_ema.", "ema_model."};
// What averaging keeps beside its weights, as scalars.
constexpr std::array<std::string_view, 5> averaged_counters{"n_averaged", "num_updates", "decay", "initted",
                                                            "step"};

bool is_averaging_counter(const HostTensor& tensor) {
  return tensor.shape.empty() && std::find(averaged_counters.begin(), averaged_counters.end(), tensor.name) !=
                                     averaged_counters.end();
}

std::string averaged_note(const Checkpoint& checkpoint) {
  return fmt::format("the plain weights are taken; averaged ones are there too ({}; --ema takes them)",
                     checkpoint.averaged_from);
}

}  // namespace

const std::vector<NameConvention>& name_conventions() {
  static const std::vector<NameConvention> conventions{
      // transformers: modeling_resnet.py, ResNetForImageClassification; the bare ResNetModel lacks `resnet.`.
      {"Hugging Face names",
       {{"embedder.*", "resnet.embedder.*"},
        {"encoder.*", "resnet.encoder.*"},
        {"resnet.embedder.embedder.convolution.*", "conv1.*"},
        {"resnet.embedder.embedder.normalization.*", "bn1.*"},
        {"resnet.encoder.stages.{s}.layers.{b}.shortcut.convolution.*", "layer{s+1}.{b}.downsample.0.*"},
        {"resnet.encoder.stages.{s}.layers.{b}.shortcut.normalization.*", "layer{s+1}.{b}.downsample.1.*"},
        {"resnet.encoder.stages.{s}.layers.{b}.layer.{k}.convolution.*", "layer{s+1}.{b}.conv{k+1}.*"},
        {"resnet.encoder.stages.{s}.layers.{b}.layer.{k}.normalization.*", "layer{s+1}.{b}.bn{k+1}.*"},
        {"classifier.1.*", "fc.*"}}},
      // The files torchvision offers for its DenseNets were written before a module's name could hold no dot.
      {"names of torchvision's first DenseNets",
       {{"features.denseblock{b}.denselayer{l}.norm.{k}.*", "features.denseblock{b}.denselayer{l}.norm{k}.*"},
        {"features.denseblock{b}.denselayer{l}.conv.{k}.*",
         "features.denseblock{b}.denselayer{l}.conv{k}.*"}}},
      // timm: _efficientnet_blocks.py; MobileNetV2's stages have 1, 2, 3, 4, 3, 3 and 1 blocks.
      {"timm's names of MobileNetV2",
       {{"blocks.0.0.conv_dw.*", "features.1.conv.0.0.*"},
        {"blocks.0.0.bn1.*", "features.1.conv.0.1.*"},
        {"blocks.0.0.conv_pw.*", "features.1.conv.1.*"},
        {"blocks.0.0.bn2.*", "features.1.conv.2.*"},
        {"blocks.1.{b}.*", "blocks.{b+2}.*"},
        {"blocks.2.{b}.*", "blocks.{b+4}.*"},
        {"blocks.3.{b}.*", "blocks.{b+7}.*"},
        {"blocks.4.{b}.*", "blocks.{b+11}.*"},
        {"blocks.5.{b}.*", "blocks.{b+14}.*"},
        {"blocks.6.{b}.*", "blocks.{b+17}.*"},
        {"blocks.{f}.conv_pw.*", "features.{f}.conv.0.0.*"},
        {"blocks.{f}.bn1.*", "features.{f}.conv.0.1.*"},
        {"blocks.{f}.conv_dw.*", "features.{f}.conv.1.0.*"},
        {"blocks.{f}.bn2.*", "features.{f}.conv.1.1.*"},
        {"blocks.{f}.conv_pwl.*", "features.{f}.conv.2.*"},
        {"blocks.{f}.bn3.*", "features.{f}.conv.3.*"},
        {"conv_stem.*", "features.0.0.*"},
        {"bn1.*", "features.0.1.*"},
        {"conv_head.*", "features.18.0.*"},
        {"bn2.*", "features.18.1.*"},
        {"classifier.*", "classifier.1.*"}}},
      // mmpretrain: an ImageClassifier of a ResNet backbone and a LinearClsHead.
      {"MMPretrain names", {{"backbone.*", "*"}, {"head.fc.*", "fc.*"}}},
  };
  return conventions;
}

std::string apply_rule(const NameRule& rule, const std::string& name) {
  Found found;
  if (!match(rule.from, name, found)) return name;
  std::string out;
  for (std::size_t i = 0; i < rule.to.size(); ++i) {
    if (rule.to[i] == '*') {
      out += found.rest;
    } else if (rule.to[i] == '{') {
      const std::size_t end = rule.to.find('}', i);
      const std::string_view more = rule.to.substr(i + 2, end - i - 2);  // "+1", or nothing
      out += std::to_string(found.number(rule.to[i + 1]) + (more.empty() ? 0 : std::stoi(std::string(more))));
      i = end;
    } else {
      out += rule.to[i];
    }
  }
  return out;
}

std::vector<std::string> Naming::notes() const {
  std::vector<std::string> notes;
  if (!prefix.empty()) notes.push_back(fmt::format("prefix {} removed from every name", quote(prefix)));
  if (!convention.empty()) notes.push_back(convention);
  return notes;
}

std::vector<Naming> namings(std::span<const HostTensor> tensors) {
  std::vector<Naming> ways(1);
  if (tensors.size() > most_names) return ways;
  std::vector<std::string> names;
  for (const HostTensor& tensor : tensors) names.push_back(tensor.name);
  std::vector<Naming> bare{{"", "", names}};
  for (const std::string& prefix : common_prefixes(names)) {
    bare.push_back({prefix, "", names});
    for (std::string& name : bare.back().names) name.erase(0, prefix.size());
  }
  ways.insert(ways.end(), bare.begin() + 1, bare.end());
  for (const Naming& way : bare) {
    for (const NameConvention& convention : name_conventions()) {
      std::vector<std::string> by_rules = way.names;
      for (std::string& name : by_rules) {
        for (const NameRule& rule : convention.rules) name = apply_rule(rule, name);
      }
      if (by_rules == way.names || !all_different(by_rules)) continue;
      ways.push_back({way.prefix, std::string(convention.title), std::move(by_rules)});
    }
  }
  return ways;
}

Checkpoint renamed(const Checkpoint& checkpoint, const Naming& naming) {
  Checkpoint out = checkpoint;
  if (naming.plain()) return out;
  if (naming.names.size() != out.tensors.size()) {
    throw Error(
        fmt::format("{}: {} names for {} tensors", out.path, naming.names.size(), out.tensors.size()));
  }
  for (std::size_t i = 0; i < out.tensors.size(); ++i) out.tensors[i].name = naming.names[i];
  return out;
}

std::string known_misfit(const Checkpoint& checkpoint) {
  const auto rank = [&](const char* name) {
    const HostTensor* const tensor = checkpoint.find(name);
    return tensor ? tensor->shape.size() : 0;
  };
  if (rank("conv1.0.weight") == 4 && rank("conv1.3.weight") == 4) {
    return "a ResNet with a deep stem, three 3 x 3 convolutions ('conv1.0', 'conv1.3', 'conv1.6') where the "
           "others "
           "have one of 7 x 7 (timm's resnet18d, resnet50d, resnet26t and their like)";
  }
  if (rank("layer2.0.downsample.1.weight") == 4) {
    return "a ResNet whose shortcuts pool before they convolve ('layer2.0.downsample.1' is a convolution)";
  }
  for (const HostTensor& tensor : checkpoint.tensors) {
    if (tensor.name.starts_with("layer1.0.se.")) {
      return fmt::format("a ResNet with squeeze-and-excitation ({})", quote(tensor.name));
    }
  }
  const HostTensor* const middle = checkpoint.find("layer1.0.conv2.weight");
  if (rank("layer1.0.conv3.weight") == 4 && middle && middle->shape.size() == 4 &&
      middle->shape[0] != middle->shape[1]) {
    return fmt::format(
        "a ResNet of grouped convolutions, perhaps not those of the ResNeXts known here "
        "('layer1.0.conv2.weight' is {})",
        shape_text(middle->shape));
  }
  return "";
}

void set_averaged_apart(Checkpoint& checkpoint) {
  std::vector<HostTensor>& tensors = checkpoint.tensors;
  // torch.optim.swa_utils.AveragedModel: module.* and a counter.
  const bool wrapped = std::all_of(tensors.begin(), tensors.end(), [](const HostTensor& t) {
    return t.name.starts_with("module.") || is_averaging_counter(t);
  });
  if (wrapped && std::erase_if(tensors, is_averaging_counter)) {
    checkpoint.notes.push_back("the counter of an averaged model was left out");
  }
  for (const std::string_view prefix : averaged_prefixes) {
    if (!checkpoint.averaged.empty()) break;
    const auto averaged = [&](const HostTensor& t) {
      return t.name.size() > prefix.size() && t.name.starts_with(prefix);
    };
    const auto n = std::size_t(std::count_if(tensors.begin(), tensors.end(), averaged));
    // A stray module of that name is no second set of weights.
    if (n == tensors.size() || 2 * n < tensors.size() - n) continue;
    for (const HostTensor& tensor : tensors) {
      if (!averaged(tensor)) continue;
      checkpoint.averaged.push_back(tensor);
      checkpoint.averaged.back().name.erase(0, prefix.size());
    }
    std::erase_if(tensors, averaged);
    checkpoint.averaged_from = fmt::format("prefix {}", quote(prefix));
  }
  if (checkpoint.averaged.empty()) return;
  std::erase_if(checkpoint.averaged, is_averaging_counter);
  // ema_pytorch keeps its counters beside online_model.* and ema_model.*.
  const bool online = std::all_of(tensors.begin(), tensors.end(), [](const HostTensor& t) {
    return t.name.starts_with("online_model.") || is_averaging_counter(t);
  });
  if (online) std::erase_if(tensors, is_averaging_counter);
  checkpoint.notes.push_back(averaged_note(checkpoint));
}

void take_averaged(Checkpoint& checkpoint) {
  if (checkpoint.averaged.empty()) {
    throw Error(
        fmt::format("{}: holds no averaged weights beside the plain ones; leave out --ema", checkpoint.path));
  }
  std::erase(checkpoint.notes, averaged_note(checkpoint));
  checkpoint.notes.push_back(fmt::format("the averaged weights are taken ({}); the plain ones are there too",
                                         checkpoint.averaged_from));
  checkpoint.tensors = std::move(checkpoint.averaged);
  checkpoint.averaged.clear();
}

}  // namespace retrace::weights
