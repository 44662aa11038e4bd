#include "weights/seeded.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace {
namespace {

constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return h;
}

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Both ends are floats, so (high − low) · u has at most 49 significant bits: exact in a double, and a
// compiler that fuses the multiply with the add changes nothing.
struct Range {
  float low, high;
};

Range symmetric(double bound) {
  return {-static_cast<float>(bound), static_cast<float>(bound)};
}

bool is_batch_norm(std::string_view module) {
  const std::size_t dot = module.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? module : module.substr(dot + 1);
  return last.starts_with("bn") || last.starts_with("norm") || module == "downsample.1" ||
         module.ends_with(".downsample.1");
}

Range value_range(std::string_view name, std::span<const std::int64_t> shape) {
  const std::size_t dot = name.rfind('.');
  const std::string_view module = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
  const std::string_view kind = dot == std::string_view::npos ? name : name.substr(dot + 1);
  if (kind == "weight" && shape.size() == 4)
    return symmetric(std::sqrt(6.0 / static_cast<double>(shape[1] * shape[2] * shape[3])));
  if (kind == "weight" && shape.size() == 2) return symmetric(std::sqrt(3.0 / static_cast<double>(shape[1])));
  if (kind == "weight" && shape.size() == 1) return {0.5f, 1.5f};
  if (kind == "bias" && shape.size() == 1) return symmetric(is_batch_norm(module) ? 0.3 : 0.1);
  if (kind == "running_mean" && shape.size() == 1) return {0, 0};
  if (kind == "running_var" && shape.size() == 1) return {1, 1};
  throw Error(
      fmt::format("{}: no seeded values for a tensor of shape {}; expected a weight of rank 1, 2 or 4, or a "
                  "bias, running_mean or running_var of rank 1",
                  weights::quote(name), weights::shape_text(shape)));
}

}  // namespace

std::vector<float> seeded_tensor(std::string_view name, std::span<const std::int64_t> shape,
                                 std::uint64_t seed) {
  const auto count = weights::element_count(shape);
  if (!count || *count < 1)
    throw Error(fmt::format("{}: no seeded values for a tensor of shape {}; expected sizes of at least 1",
                            weights::quote(name), weights::shape_text(shape)));
  const Range range = value_range(name, shape);
  const double low = range.low;
  const double width = range.high - low;
  const std::uint64_t stream = fnv1a(name) ^ mix(seed);
  std::vector<float> values(static_cast<std::size_t>(*count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double u = static_cast<double>(mix(stream + i * golden_ratio) >> 40) * 0x1p-24;
    values[i] = static_cast<float>(low + width * u);
  }
  return values;
}

}  // namespace retrace
