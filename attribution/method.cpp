// From "lrp:epsilon-plus-flat,bias=absorb" to a Method.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "attribution/attribute.h"

namespace retrace {

namespace {

constexpr std::pair<const char*, MethodKind> kinds[] = {{"input-gradient", MethodKind::input_gradient},
                                                        {"grad-cam", MethodKind::grad_cam},
                                                        {"lrp", MethodKind::lrp}};

std::vector<std::string> pieces(const std::string& text, char separator) {
  std::vector<std::string> list;
  std::size_t from = 0;
  while (true) {
    const std::size_t to = text.find(separator, from);
    std::string piece = text.substr(from, to == std::string::npos ? to : to - from);
    const auto first = piece.find_first_not_of(" \t"), last = piece.find_last_not_of(" \t");
    list.push_back(first == std::string::npos ? "" : piece.substr(first, last - first + 1));
    if (to == std::string::npos) return list;
    from = to + 1;
  }
}

template <class T, std::size_t N>
T choose(const std::string& method, const std::string& key, const std::string& value,
         const std::pair<const char*, T> (&choices)[N]) {
  std::vector<std::string> known;
  for (const auto& [name, choice] : choices) {
    if (value == name) return choice;
    known.emplace_back(name);
  }
  throw UsageError(
      fmt::format("method '{}': {}={}, expected one of {}", method, key, value, fmt::join(known, ", ")));
}

float number(const std::string& method, const std::string& key, const std::string& value) {
  float x = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), x);
  if (error != std::errc{} || end != value.data() + value.size() || !(x == x) || x > 1e30f || x < -1e30f) {
    throw UsageError(fmt::format("method '{}': {}='{}' is not a number", method, key, value));
  }
  return x;
}

void lrp_option(LrpOptions& lrp, const std::string& method, const std::string& key, const std::string& value,
                bool& beta_given) {
  if (key == "bias") {
    constexpr std::pair<const char*, BiasPolicy> choices[] = {
        {"absorb", BiasPolicy::absorb}, {"ignore", BiasPolicy::ignore}, {"spread", BiasPolicy::spread}};
    lrp.bias = choose(method, key, value, choices);
  } else if (key == "residual") {
    constexpr std::pair<const char*, ResidualPolicy> choices[] = {{"joint", ResidualPolicy::joint},
                                                                  {"split", ResidualPolicy::split}};
    lrp.residual = choose(method, key, value, choices);
  } else if (key == "start") {
    constexpr std::pair<const char*, Start> choices[] = {{"logit", Start::logit},
                                                         {"one-hot", Start::one_hot}};
    lrp.start = choose(method, key, value, choices);
  } else if (key == "gamma") {
    lrp.gamma = number(method, key, value);
  } else if (key == "alpha") {
    lrp.alpha = number(method, key, value);
    if (!beta_given) lrp.beta = lrp.alpha - 1;
  } else if (key == "beta") {
    lrp.beta = number(method, key, value);
    beta_given = true;
  } else if (key == "epsilon") {
    lrp.epsilon = number(method, key, value);
  } else {
    throw UsageError(
        fmt::format("method '{}': option '{}', expected bias, residual, start, gamma, alpha, beta or epsilon",
                    method, key));
  }
}

}  // namespace

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds) names.emplace_back(name);
  return names;
}

std::string Method::file_name() const {
  std::string name = text;
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '=';
    if (!plain) c = '_';
  }
  return name;
}

Method parse_method(const std::string& text) {
  const std::size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  Method method;
  method.text = text;
  const auto kind =
      std::find_if(std::begin(kinds), std::end(kinds), [&](const auto& k) { return name == k.first; });
  if (kind == std::end(kinds)) {
    throw UsageError(fmt::format("method '{}': expected one of {}", name, fmt::join(method_names(), ", ")));
  }
  method.kind = kind->second;
  if (method.kind == MethodKind::lrp) method.lrp = lrp_composite(lrp_composites().front());
  if (colon == std::string::npos) return method;
  const std::vector<std::string> options = pieces(text.substr(colon + 1), ',');
  bool beta_given = false;
  // The composite first, wherever it stands: it sets what the other options then change.
  for (const std::string& option : options) {
    if (method.kind == MethodKind::lrp && option.find('=') == std::string::npos) {
      method.lrp = lrp_composite(option);
    }
  }
  for (const std::string& option : options) {
    const std::size_t equals = option.find('=');
    if (equals == std::string::npos) {
      if (method.kind == MethodKind::lrp) continue;
      throw UsageError(fmt::format("method '{}': option '{}', expected key=value", text, option));
    }
    const std::string key = option.substr(0, equals), value = option.substr(equals + 1);
    if (method.kind == MethodKind::lrp) {
      lrp_option(method.lrp, text, key, value, beta_given);
    } else if (method.kind == MethodKind::grad_cam && key == "layer") {
      if (value.empty()) throw UsageError(fmt::format("method '{}': layer= names no layer", text));
      method.layer = value;
    } else {
      throw UsageError(fmt::format("method '{}': {} has no option '{}'", text, name, key));
    }
  }
  if (method.kind == MethodKind::lrp) check(method.lrp);
  return method;
}

std::vector<Method> parse_methods(const std::vector<std::string>& texts) {
  std::vector<Method> methods;
  for (const std::string& text : texts) {
    for (const std::string& piece : pieces(text, ';')) {
      if (!piece.empty()) methods.push_back(parse_method(piece));
    }
  }
  if (methods.empty()) {
    throw UsageError(
        fmt::format("no method given: expected one or more of {}", fmt::join(method_names(), ", ")));
  }
  return methods;
}

}  // namespace retrace
