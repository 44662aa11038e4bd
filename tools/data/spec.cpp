#include "tools/data/spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "kernels/error.h"

namespace retrace::data {

namespace {

template <class T>
bool parse(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

}  // namespace

Options::Options(std::string subject, const std::string& text) : subject_(std::move(subject)) {
  for (std::size_t from = 0; !text.empty() && from <= text.size();) {
    const std::size_t to = std::min(text.find(',', from), text.size());
    const std::string piece = text.substr(from, to - from);
    const std::size_t equals = piece.find('=');
    const std::string key = piece.substr(0, equals);
    if (key.empty()) fail(fmt::format("'{}' is not an option, expected key=value", piece));
    if (std::any_of(options_.begin(), options_.end(), [&](const Option& o) { return o.key == key; }))
      fail(fmt::format("'{}' is given twice", key));
    const bool has_value = equals != std::string::npos;
    options_.push_back({key, has_value ? piece.substr(equals + 1) : "", has_value, false});
    from = to + 1;
  }
}

void Options::fail(const std::string& what) const {
  throw UsageError(subject_ + ": " + what);
}

const std::string* Options::take(const std::string& key, const std::string& form) {
  known_.push_back(form.empty() ? key : key + "=" + form);
  for (Option& o : options_)
    if (o.key == key) {
      o.used = true;
      if (o.has_value != !form.empty())
        fail(o.has_value ? fmt::format("{}={}, expected '{}' without a value", key, o.value, key)
                         : fmt::format("'{}' without a value, expected {}={}", key, key, form));
      return &o.value;
    }
  return nullptr;
}

std::int64_t Options::integer(const std::string& key, std::int64_t otherwise, std::int64_t least,
                              std::int64_t most) {
  const std::string* text = take(key, "N");
  if (!text) return otherwise;
  std::int64_t value = 0;
  if (!parse(*text, value) || value < least || value > most)
    fail(fmt::format("{}={}, expected a whole number from {} to {}", key, *text, least, most));
  return value;
}

std::uint64_t Options::unsigned_integer(const std::string& key, std::uint64_t otherwise) {
  const std::string* text = take(key, "N");
  std::uint64_t value = otherwise;
  if (text && !parse(*text, value))
    fail(fmt::format("{}={}, expected a whole number from 0 to {}", key, *text,
                     std::numeric_limits<std::uint64_t>::max()));
  return value;
}

float Options::real(const std::string& key, float otherwise, float least, float most) {
  const std::string* text = take(key, "X");
  if (!text) return otherwise;
  float value = 0;
  // Not a number fails both comparisons.
  if (!parse(*text, value) || !(value >= least && value <= most))
    fail(fmt::format("{}={}, expected a number from {} to {}", key, *text, least, most));
  return value;
}

std::pair<int, int> Options::range(const std::string& key, std::pair<int, int> otherwise, int least,
                                   int most) {
  const std::string* text = take(key, "N or A-B");
  if (!text) return otherwise;
  const std::size_t dash = text->find('-');
  int first = 0, second = 0;
  const bool parsed = parse(text->substr(0, dash), first) &&
                      parse(dash == std::string::npos ? *text : text->substr(dash + 1), second);
  if (!parsed || first < least || second < first || second > most)
    fail(fmt::format("{}={}, expected a number from {} to {} or a range of them like {}-{}", key, *text,
                     least, most, least, most));
  return {first, second};
}

std::string Options::one_of(const std::string& key, const std::string& otherwise,
                            std::span<const std::string> choices) {
  const std::string* text = take(key, fmt::format("{}", fmt::join(choices, "|")));
  if (!text) return otherwise;
  if (std::find(choices.begin(), choices.end(), *text) == choices.end())
    fail(fmt::format("{}={}, expected {}", key, *text, fmt::join(choices, " or ")));
  return *text;
}

bool Options::flag(const std::string& key) {
  return take(key, "") != nullptr;
}

void Options::finish() const {
  for (const Option& o : options_)
    if (!o.used) fail(fmt::format("option '{}', expected {}", o.key, fmt::join(known_, ", ")));
}

std::pair<std::string, std::string> split_folder(const std::string& text, std::span<const std::string> keys) {
  std::size_t end = text.size();
  while (true) {
    const std::size_t comma = end == 0 ? std::string::npos : text.rfind(',', end - 1);
    if (comma == std::string::npos) break;
    const std::string piece = text.substr(comma + 1, end - comma - 1);
    const std::size_t equals = piece.find('=');
    if (equals == std::string::npos ||
        std::find(keys.begin(), keys.end(), piece.substr(0, equals)) == keys.end())
      break;
    end = comma;
  }
  return {text.substr(0, end), end == text.size() ? "" : text.substr(end + 1)};
}

}  // namespace retrace::data
