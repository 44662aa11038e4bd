#include "tools/data/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "kernels/error.h"
#include "tools/data/inflate.h"

namespace retrace::data {

namespace fs = std::filesystem;

namespace {

constexpr int classes = 10;

std::vector<std::string> label_names(const fs::path& folder, IdxOptions::Labels which) {
  if (which == IdxOptions::Labels::by_name) {
    // A trailing slash leaves an empty last name.
    std::string name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    which =
        name.find("fashion") != std::string::npos ? IdxOptions::Labels::fashion : IdxOptions::Labels::digits;
  }
  if (which == IdxOptions::Labels::fashion)
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  std::vector<std::string> out;
  for (int i = 0; i < classes; ++i) out.push_back(std::to_string(i));
  return out;
}

fs::path find_file(const fs::path& folder, const std::string& name) {
  std::error_code error;
  for (const fs::path& path : {folder / name, folder / (name + ".gz")})
    if (fs::exists(path, error)) return path;
  throw Error(fmt::format("{}: no {} or {}.gz in this folder", folder.string(), name, name));
}

// Reads the magic number and `dimensions` sizes.
template <std::size_t dimensions>
std::array<std::uint32_t, dimensions> read_header(ByteSource& source) {
  std::array<std::uint8_t, 4 * (dimensions + 1)> bytes;
  source.read(bytes, "its header");
  const auto word = [&](std::size_t i) {
    std::uint32_t value = 0;
    for (std::size_t k = 0; k < 4; ++k) value = value << 8 | bytes[4 * i + k];
    return value;
  };
  constexpr std::uint32_t magic = 0x0800 + dimensions;  // unsigned bytes in so many dimensions
  if (word(0) != magic)
    throw Error(fmt::format("{}: magic number 0x{:08x}, expected 0x{:08x}: unsigned bytes of {} dimension(s)",
                            source.name(), word(0), magic, dimensions));
  std::array<std::uint32_t, dimensions> sizes;
  for (std::size_t i = 0; i < dimensions; ++i) sizes[i] = word(i + 1);
  return sizes;
}

std::vector<std::uint8_t> read_body(ByteSource& source, std::uint64_t bytes, const std::string& what) {
  constexpr std::uint64_t most = std::uint64_t(1) << 30;
  if (bytes > std::min(most, source.most_bytes()))
    throw Error(fmt::format("{}: the header announces {}, more than {}", source.name(), what,
                            bytes > most ? "the 2^30 bytes that are read" : "the file can hold"));
  std::vector<std::uint8_t> out(bytes);
  source.read(out, what);
  source.finish();
  return out;
}

}  // namespace

Idx::Idx(const fs::path& folder, const IdxOptions& options) : labels_(label_names(folder, options.labels)) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) throw Error(folder.string() + ": no such folder");
  if (error) throw Error(folder.string() + ": cannot be read: " + error.message());
  if (!fs::is_directory(status)) throw Error(folder.string() + ": not a folder, expected one with idx files");

  const std::string prefix = options.train ? "train" : "t10k";
  ByteSource images(find_file(folder, prefix + "-images-idx3-ubyte"));
  ByteSource labels(find_file(folder, prefix + "-labels-idx1-ubyte"));
  const auto [count, height, width] = read_header<3>(images);
  const auto [label_count] = read_header<1>(labels);
  if (count != label_count)
    throw Error(fmt::format("{} has {} pictures but {} has {} labels", images.name(), count, labels.name(),
                            label_count));
  if (count == 0) throw Error(images.name() + ": no pictures");
  constexpr std::uint32_t most_side = 1024;
  if (height < 1 || width < 1 || height > most_side || width > most_side)
    throw Error(fmt::format("{}: pictures of {} x {} pixels, expected 1 to {} a side", images.name(), width,
                            height, most_side));
  height_ = int(height), width_ = int(width);
  digits_ = read_body(labels, count, fmt::format("{} labels", count));
  const auto wrong =
      std::find_if(digits_.begin(), digits_.end(), [](std::uint8_t d) { return d >= classes; });
  if (wrong != digits_.end())
    throw Error(fmt::format("{}: label {} is {}, expected 0 to {}", labels.name(), wrong - digits_.begin(),
                            *wrong, classes - 1));
  pixels_ = read_body(images, std::uint64_t(count) * height * width,
                      fmt::format("{} pictures of {} x {}", count, width, height));
  images_name_ = images.name();
  spec_ = fmt::format("idx:{},split={}", folder.string(), options.train ? "train" : "test");
  if (options.labels != IdxOptions::Labels::by_name)
    spec_ += options.labels == IdxOptions::Labels::fashion ? ",labels=fashion" : ",labels=digits";
}

Sample Idx::sample(std::size_t index) const {
  if (index >= size()) throw Error(fmt::format("{}: sample {}, expected 0 to {}", spec_, index, size() - 1));
  Sample sample;
  sample.label = digits_[index];
  sample.name = fmt::format("{}[{}]", images_name_, index);
  sample.picture = {width_, height_, {}};
  const std::size_t area = std::size_t(height_) * std::size_t(width_);
  sample.picture.rgb.resize(area * 3);
  std::uint8_t* out = sample.picture.rgb.data();
  for (std::size_t i = index * area; i < (index + 1) * area; ++i, out += 3)
    out[0] = out[1] = out[2] = pixels_[i];
  return sample;
}

}  // namespace retrace::data
