// What the command line says, as data. One struct per group of options, added to a command.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/arguments.h"

namespace retrace::tools {

struct CommonOptions {
  std::string device = "auto";
  std::string precision = "fp32";
  int batch = 8;
  int threads = 0;
  std::uint64_t seed = 1;
  bool quiet = false;

  void add_to(const Arguments& arguments);
};

struct ModelOptions {
  std::string model;
  std::filesystem::path weights, labels;
  bool ema = false;
  // Override the model's own preprocessing where given.
  int resize = -1, crop = -1;
  std::vector<float> mean, std;

  void add_to(const Arguments& arguments);
};

}  // namespace retrace::tools
