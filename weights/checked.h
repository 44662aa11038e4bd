// Arithmetic on numbers that come from a file, and how such text is shown in a message.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retrace::weights {

// The sum or product, nothing if it does not fit.
template <class T>
std::optional<T> checked_add(T a, T b) {
  T result{};
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}
template <class T>
std::optional<T> checked_mul(T a, T b) {
  T result{};
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

// How many bytes the tensors of a file may take in memory, where a few bytes can ask for many: an expanded tensor
// (stride 0), many tensors of one storage, deflated zeros. 16 times the file's size, but 48 MiB are always fine and
// more than 64 GiB never. What unfolds to more is an attack or a mistake.
inline std::uint64_t unfolding_budget(std::uint64_t file_size) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  constexpr int always_mib = 1;  // a fuzzer that fills 48 MiB again and again does little else
#else
  constexpr int always_mib = 48;
#endif
  constexpr std::uint64_t growth = 16, always = std::uint64_t(always_mib) << 20,
                          never = std::uint64_t(64) << 30;
  return std::min(std::max(checked_mul(file_size, growth).value_or(never), always), never);
}

// Product of the sizes; nothing if a size is negative, or if the product of the sizes that are not zero does
// not fit (so that [0, 2^62, 2^62] is refused too: strides of such a shape overflow).
inline std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
      continue;
    }
    const auto next = checked_mul(product, size);
    if (!next) return std::nullopt;
    product = *next;
  }
  return empty ? 0 : product;
}

// "[64, 3, 7, 7]"
std::string shape_text(std::span<const std::int64_t> shape);

// 'text' in quotes, on one line: control characters escaped, long text shortened.
std::string quote(std::string_view text);

// The text with control characters escaped: what a file holds must not steer a terminal.
std::string printable(std::string_view text);

// "a, b, c … (5 more)": at most `most` of them.
std::string listed(const std::vector<std::string>& items, std::size_t most = 8);

}  // namespace retrace::weights
