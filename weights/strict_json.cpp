#include "weights/strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "kernels/error.h"
#include "weights/checked.h"

namespace retrace::weights {

using nlohmann::json;

json parse_json_object(std::span<const std::byte> text, const std::string& where, const std::string& what) {
  constexpr int max_depth = 8;  // a safetensors header has three levels
  const auto fail = [&](const std::string& why) { throw Error(fmt::format("{}: {}{}", where, what, why)); };
  if (text.size() > max_json)
    fail(fmt::format(" takes {} bytes, at most {} are read", text.size(), max_json));
  // nlohmann takes a zero byte for the end, whatever follows.
  if (const auto zero = std::find(text.begin(), text.end(), std::byte{0}); zero != text.end()) {
    fail(fmt::format(" is not valid JSON: it holds a zero byte at {}", zero - text.begin()));
  }
  // nlohmann keeps the last of several equal keys; here they are an error.
  std::vector<std::set<std::string>> keys;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > max_depth) fail(" is nested too deep");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      fail(fmt::format(": key {} stands twice", quote(parsed.get<std::string>())));
    }
    return true;
  };
  json parsed;
  const char* const begin = reinterpret_cast<const char*>(text.data());
  try {
    parsed = json::parse(begin, begin + text.size(), watch);
  } catch (const json::exception& error) {
    fail(fmt::format(" is not valid JSON: {}", quote(error.what())));
  }
  if (!parsed.is_object()) fail(fmt::format(" is a JSON {}, expected an object", parsed.type_name()));
  return parsed;
}

bool is_utf8(const std::string& text) {
  try {
    (void)json(text).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

std::string json_list(const std::vector<std::string>& texts) {
  return json(texts).dump();
}

std::optional<std::vector<std::string>> read_json_list(const std::string& text) {
  const json list = json::parse(text, nullptr, false);
  const auto is_text = [](const json& element) { return element.is_string(); };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_text)) return std::nullopt;
  return list.get<std::vector<std::string>>();
}

}  // namespace retrace::weights
