// The files of a tar archive (POSIX.1-2001 ustar and pax).
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>

namespace retrace::weights {

using TarEntries = std::map<std::string, std::span<const std::byte>, std::less<>>;

// The regular files of the archive that fills `bytes`, by name. Throws Error, beginning with `where`, if a header is
// damaged, a file does not lie in the archive, two have one name, or there is something else than files in it.
TarEntries read_tar(std::span<const std::byte> bytes, const std::string& where);

}  // namespace retrace::weights
