#include "engine/train/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "weights/layout.h"

namespace retrace {

namespace {

constexpr std::int64_t alignment = 64;  // floats: every parameter begins on a 256-byte boundary

bool ends_with(const std::string& text, const char* end) {
  return std::string_view(text).ends_with(end);
}

ParameterKind kind_of(const ParameterSpec& spec) {
  if (ends_with(spec.name, "running_mean") || ends_with(spec.name, "running_var"))
    return ParameterKind::statistic;
  return spec.shape.size() >= 2 ? ParameterKind::decayed : ParameterKind::plain;
}

Shape device_shape(const Shape& shape) {
  return shape.size() == 4 ? Shape{shape[0], shape[2], shape[3], shape[1]} : shape;
}

// The KCRS that is laid out as KRSC on the device: a convolution's, or a fully connected layer's over a flattened image.
// Empty for all other parameters.
Shape kcrs_of(const ParameterSpec& spec) {
  if (spec.shape.size() == 4) return spec.shape;
  if (spec.side <= 1) return {};
  return {spec.shape[0], spec.shape[1] / (std::int64_t(spec.side) * spec.side), spec.side, spec.side};
}

std::int64_t count(const Shape& shape) {
  std::int64_t size = 1;
  for (const auto d : shape) size *= d;
  return size;
}

// Random numbers that depend on the seed and the parameter's name alone: splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  Random(const std::string& name, std::uint64_t seed) : state_(seed) {
    for (const char c : name) state_ = mix(state_ ^ static_cast<unsigned char>(c));
  }
  double uniform() { return (double(next() >> 11) + 0.5) / 9007199254740992.0; }  // in (0, 1)
  double normal() {                                                               // Box and Muller
    return std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
  }

 private:
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
  std::uint64_t state_;
};

}  // namespace

ParameterStore::ParameterStore(Device& device, std::vector<ParameterSpec> specs,
                               const std::vector<ParameterValue>& values)
    : device_(&device) {
  if (specs.size() != values.size()) {
    throw Error(fmt::format("{} parameters given, {} expected", values.size(), specs.size()));
  }
  std::array<std::vector<float>, parameter_kinds> host;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (values[i].shape != specs[i].shape || std::int64_t(values[i].values.size()) != count(specs[i].shape)) {
      throw Error(fmt::format("parameter {} has shape {} and {} values, expected {}", specs[i].name,
                              to_string(values[i].shape), values[i].values.size(),
                              to_string(specs[i].shape)));
    }
    Parameter p{.spec = std::move(specs[i]), .kind = {}, .first = 0, .value = {}, .gradient = {}};
    p.kind = kind_of(p.spec);
    std::vector<float>& to = host[std::size_t(p.kind)];
    p.first = std::int64_t(to.size());
    const Shape s = kcrs_of(p.spec);
    const std::vector<float> packed =
        s.size() == 4 ? weights::kcrs_to_krsc(values[i].values, s[0], s[1], s[2], s[3]) : values[i].values;
    to.insert(to.end(), packed.begin(), packed.end());
    to.resize((to.size() + alignment - 1) / alignment * alignment);
    parameters_.push_back(std::move(p));
  }
  for (std::size_t kind = 0; kind < parameter_kinds; ++kind) {
    values_[kind] = Tensor::from_host(device, {std::int64_t(host[kind].size())}, host[kind]);
  }
  gradients_ = zeros_like(false);
  for (Parameter& p : parameters_) {
    const Shape shape = device_shape(p.spec.shape);
    p.value = values_[std::size_t(p.kind)].slice(p.first, shape);
    if (p.kind != ParameterKind::statistic) {
      p.gradient = gradients_[std::size_t(p.kind)].slice(p.first, shape);
    }
  }
}

const Parameter& ParameterStore::at(const std::string& name) const {
  const auto at = std::find_if(parameters_.begin(), parameters_.end(),
                               [&](const Parameter& p) { return p.spec.name == name; });
  if (at == parameters_.end()) throw Error("no parameter " + name);
  return *at;
}

std::vector<ParameterValue> ParameterStore::to_host(const ParameterArrays& arrays) const {
  std::vector<ParameterValue> result;
  for (const Parameter& p : parameters_) {
    std::vector<float> values = arrays[std::size_t(p.kind)].slice(p.first, {count(p.spec.shape)}).to_host();
    if (const Shape s = kcrs_of(p.spec); !s.empty())
      values = weights::krsc_to_kcrs(values, s[0], s[1], s[2], s[3]);
    result.push_back({p.spec.shape, std::move(values)});
  }
  return result;
}

ParameterArrays ParameterStore::zeros_like(bool with_statistics) const {
  ParameterArrays arrays;
  for (std::size_t kind = 0; kind < parameter_kinds; ++kind) {
    if (ParameterKind(kind) == ParameterKind::statistic && !with_statistics) continue;
    arrays[kind] = Tensor(*device_, values_[kind].shape());
    device_->zero(arrays[kind].raw(), arrays[kind].bytes());
  }
  return arrays;
}

std::vector<ParameterValue> initial_parameters(const std::string& model, int classes, std::uint64_t seed,
                                               bool zero_residual) {
  std::vector<ParameterValue> values;
  for (const ParameterSpec& spec : model_parameters(model, classes)) {
    ParameterValue value{spec.shape, std::vector<float>(std::size_t(count(spec.shape)))};
    Random random(spec.name, seed);
    const Shape& s = spec.shape;
    if (s.size() == 4) {
      const double deviation = std::sqrt(2.0 / double(s[0] * s[2] * s[3]));
      for (float& v : value.values) v = float(deviation * random.normal());
    } else if (s.size() == 2 || (ends_with(spec.name, ".bias") && values.back().shape.size() == 2)) {
      // The head's bias follows its weight and has the same range.
      const double bound = 1 / std::sqrt(double(s.size() == 2 ? s[1] : values.back().shape[1]));
      for (float& v : value.values) v = float(bound * (2 * random.uniform() - 1));
    } else {
      const bool one = ends_with(spec.name, ".weight") || ends_with(spec.name, "running_var");
      std::fill(value.values.begin(), value.values.end(), one ? 1.0f : 0.0f);
    }
    values.push_back(std::move(value));
  }
  if (zero_residual) {
    const auto specs = model_parameters(model, classes);
    for (const std::string& name : residual_scales(model)) {
      for (std::size_t i = 0; i < specs.size(); ++i) {
        if (specs[i].name == name) std::fill(values[i].values.begin(), values[i].values.end(), 0.0f);
      }
    }
  }
  return values;
}

}  // namespace retrace
