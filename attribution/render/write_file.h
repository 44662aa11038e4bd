// Writing a file so that nobody ever sees half of it.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace retrace::render {

// Writes `parts` one after the other to a temporary name beside `path`, then renames it to `path`. An
// existing file is replaced (through a symbolic link: the file it points to); anything else that exists (a
// folder, a device, a pipe) is refused. Throws Error naming the path and the cause; then nothing is left
// behind and an older file is untouched.
void write_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts);
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace retrace::render
