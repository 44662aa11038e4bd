#include "tools/options.h"

#include <cmath>

namespace retrace::tools {

namespace {

// CLI11 reads "nan" and "inf" as numbers.
std::string finite(const std::string& text) {
  float value = 0;
  return CLI::detail::lexical_cast(text, value) && std::isfinite(value)
             ? ""
             : "'" + text + "' is not a finite number";
}

}  // namespace

void CommonOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "auto, cuda, cuda:N or sim")->capture_default_str();
  command.add_option("--precision", precision, "fp32")->capture_default_str();
  command.add_option("--batch", batch, "Pictures computed at once")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  command.add_option("--threads", threads, "OS threads of the simulator (0: one per core)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--seed", seed, "Of everything random")->capture_default_str();
  command.add_flag("--quiet", quiet, "No progress and no notes");
}

void ModelOptions::add_to(CLI::App& command) {
  command.add_option("--model", model,
                     "Architecture (see `retrace models`); told from the weights if left out");
  command.add_option("--weights", weights,
                     "Weight file: safetensors or its index, .pth, .pt, .th, .npz, or a folder of .npy");
  command.add_flag("--ema", ema, "Take the averaged weights of a file that has plain and averaged ones");
  command.add_option("--labels", labels, "Text file with one class name per line");
  command.add_option("--resize", resize, "Shorter side before the crop (0: both sides become the crop's)")
      ->check(CLI::Range(0, 16384));
  command.add_option("--crop", crop, "Side of the centre square")->check(CLI::Range(1, 16384));
  command.add_option("--mean", mean, "Mean of each channel, of values in 0 ... 1")
      ->expected(3)
      ->delimiter(',')
      ->check(finite);
  command.add_option("--std", std, "Standard deviation of each channel")
      ->expected(3)
      ->delimiter(',')
      ->check(finite);
}

}  // namespace retrace::tools
