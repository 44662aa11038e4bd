// JSON from a file that nobody vouches for.
#pragma once
#include <cstddef>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace retrace::weights {

// The longest JSON text read: the limit of the safetensors format's own library for a header.
inline constexpr std::size_t max_json = 100'000'000;

// Takes one member of the outermost object as soon as it is read, in the text's order.
using JsonMember = std::function<void(const std::string& name, const nlohmann::json& value)>;

// One JSON object and nothing else but white space, UTF-8. Throws Error, "WHERE: WHAT is …", for anything else, for
// a key that stands twice in one object, and for more than 8 levels. Uses no stack in proportion to the depth.
// With `member`, the members go there, and what is returned has their names alone: the tree of a header of 100 MB takes more
// than a gigabyte.
nlohmann::json parse_json_object(std::span<const std::byte> text, const std::string& where,
                                 const std::string& what, const JsonMember& member = {});

// For those who need no more of JSON than this, and so need not compile its library.
bool is_utf8(const std::string& text);
// A JSON list of strings as text, and back: nothing if it is anything else. Texts to write are UTF-8.
std::string json_list(const std::vector<std::string>& texts);
std::optional<std::vector<std::string>> read_json_list(const std::string& text);

}  // namespace retrace::weights
