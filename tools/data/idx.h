// MNIST's file format, as MNIST, Fashion-MNIST and their kin come in.
#pragma once
#include <filesystem>

#include "tools/data/dataset.h"

namespace retrace::data {

struct IdxOptions {
  bool train = true;  // "split=train" or "split=test"
  enum class Labels { by_name, digits, fashion } labels = Labels::by_name;
};

// A folder with train-images-idx3-ubyte and train-labels-idx1-ubyte (split=test: t10k-…), each plain or, with .gz after
// its name, compressed by gzip; plain is taken where both are there. Big-endian 32-bit numbers: 0x00000803, count,
// height, width, then a byte of grey a pixel; 0x00000801, count, then a byte of label, 0 to 9, each. Everything is read
// and checked when the data is opened, and nothing is allocated that the file's own size does not allow for.
// Grey becomes R = G = B. Labels are Fashion-MNIST's where the folder's name has "fashion" in it or labels=fashion says
// so, else "0" to "9". No masks.
class Idx final : public Dataset {
 public:
  // Throws Error naming the file for: no folder, no such file, a file cut short or too long, damaged compression, a
  // wrong magic number, sides beyond 1024, more than 2^30 bytes, counts that differ, a label beyond 9.
  explicit Idx(const std::filesystem::path& folder, const IdxOptions& options = {});

  std::size_t size() const override { return digits_.size(); }
  const std::vector<std::string>& labels() const override { return labels_; }
  Sample sample(std::size_t index) const override;
  const std::string& spec() const override { return spec_; }

 private:
  std::string spec_, images_name_;
  std::vector<std::string> labels_;
  int height_ = 0, width_ = 0;
  std::vector<std::uint8_t> pixels_;  // [size, height, width]
  std::vector<std::uint8_t> digits_;  // [size]
};

}  // namespace retrace::data
