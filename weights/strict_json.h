// JSON from a file that nobody vouches for.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

namespace retrace::weights {

// The longest JSON text read: the limit of the safetensors format's own library for a header.
inline constexpr std::size_t max_json = 100'000'000;

// One JSON object and nothing else but white space, UTF-8. Throws Error, "WHERE: WHAT is …", for anything else, for
// a key that stands twice in one object, and for more than 8 levels. Uses no stack in proportion to the depth.
nlohmann::json parse_json_object(std::span<const std::byte> text, const std::string& where,
                                 const std::string& what);

}  // namespace retrace::weights
