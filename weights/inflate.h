// Unfolding deflated data (RFC 1951) into memory whose size was decided before.
#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace retrace::weights {

// The first bytes, as many as `out` takes or the stream has; returns how many. Throws Error, beginning with `where`,
// if the stream is damaged or cut short before that.
std::size_t inflate_start(std::span<const std::byte> packed, std::span<std::byte> out,
                          const std::string& where);

// All of it. Throws Error also if the stream does not hold exactly `out.size()` bytes or does not fill `packed`.
void inflate_whole(std::span<const std::byte> packed, std::span<std::byte> out, const std::string& where);

}  // namespace retrace::weights
