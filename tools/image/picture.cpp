#include "tools/image/picture.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <vector>

#include "kernels/error.h"
#include "tools/image/container.h"
#include "tools/image/limits.h"
#include "tools/image/pnm.h"
#include "tools/image/stb_read.h"

namespace retrace::image {
namespace {

namespace fs = std::filesystem;

std::vector<std::uint8_t> read_whole(const fs::path& path) {
  const auto fail = [&](std::string_view what) { throw Error(fmt::format("{}: {}", path.string(), what)); };
  const auto reason = [](int code) { return std::generic_category().message(code); };
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) fail("no such file");
  if (error) fail(fmt::format("cannot be read: {}", error.message()));
  if (fs::is_directory(status)) fail("a folder, expected a picture file");
  // Opening a pipe would wait for a writer.
  if (!fs::is_regular_file(status)) fail("not a regular file, expected a picture file");

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail(fmt::format("cannot be read: {}", reason(errno)));
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail(fmt::format("cannot be read: {}", error.message()));
  if (size == 0) fail("the file is empty");
  constexpr std::uintmax_t most_bytes = std::uintmax_t(1) << 30;
  if (size > most_bytes)
    fail(fmt::format("{} bytes are too many for a picture, expected at most {}", size, most_bytes));
  std::vector<std::uint8_t> bytes(size);
  if (std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size())
    fail(std::ferror(file.get()) ? fmt::format("cannot be read: {}", reason(errno))
                                 : std::string("the file became shorter while it was read"));
  return bytes;
}

}  // namespace

void check_dimensions(std::int64_t width, std::int64_t height, const std::string& name) {
  if (width < 1 || height < 1 || width > most_side || height > most_side || width * height > most_pixels)
    throw Error(
        fmt::format("{}: the picture claims {} x {} pixels, expected 1 to {} a side and at most {} in all",
                    name, width, height, most_side, most_pixels));
}

Picture load_picture(const fs::path& path) {
  const std::string name = path.string();
  const std::vector<std::uint8_t> bytes = read_whole(path);
  const Format format = identify(bytes, name);
  check_complete(format, bytes, name);
  return format == Format::pnm ? read_pnm(bytes, name) : decode_stb(bytes, name);
}

}  // namespace retrace::image
