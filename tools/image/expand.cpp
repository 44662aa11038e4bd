#include "tools/image/expand.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>

#include "kernels/error.h"

namespace retrace::image {

namespace fs = std::filesystem;

bool has_picture_extension(const fs::path& path) {
  static constexpr std::array<std::string_view, 8> known{".jpg", ".jpeg", ".png", ".bmp",
                                                         ".gif", ".ppm",  ".pgm", ".pnm"};
  std::string extension = path.extension().string();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return std::find(known.begin(), known.end(), extension) != known.end();
}

std::vector<fs::path> expand_images(std::span<const fs::path> arguments) {
  std::vector<fs::path> out;
  for (const fs::path& argument : arguments) {
    std::error_code error;
    if (!fs::is_directory(argument, error)) {
      out.push_back(argument);
      continue;
    }
    const std::size_t before = out.size();
    fs::directory_iterator entry(argument, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      std::error_code ignored;
      if (!name.starts_with('.') && has_picture_extension(name) && !entry->is_directory(ignored))
        out.push_back(entry->path());
    }
    if (error)
      throw Error(fmt::format("{}: the folder cannot be read: {}", argument.string(), error.message()));
    if (out.size() == before)
      throw Error(fmt::format("{}: no pictures in this folder (.jpg .jpeg .png .bmp .gif .ppm .pgm .pnm)",
                              argument.string()));
    std::sort(out.begin() + std::ptrdiff_t(before), out.end(),
              [](const fs::path& x, const fs::path& y) { return x.native() < y.native(); });
  }
  return out;
}

}  // namespace retrace::image
