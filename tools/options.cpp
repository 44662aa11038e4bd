#include "tools/options.h"

namespace retrace::tools {

void CommonOptions::add_to(const Arguments& arguments) {
  arguments.add("--device", device, "auto, cuda, cuda:N or sim").shows_default();
  arguments.add("--precision", precision, "fp32").shows_default();
  arguments.add("--batch", batch, "Pictures computed at once").within(1, 65535).shows_default();
  arguments.add("--threads", threads, "OS threads of the simulator (0: one per core)")
      .within(0, 1024)
      .shows_default();
  arguments.add("--seed", seed, "Of everything random").shows_default();
  arguments.flag("--quiet", quiet, "No progress and no notes");
}

void ModelOptions::add_to(const Arguments& arguments) {
  arguments.add("--model", model, "Architecture (see `retrace models`); told from the weights if left out");
  arguments.add("--weights", weights,
                "Weight file: safetensors or its index, .pth, .pt, .th, .onnx, .npz, or a folder of .npy");
  arguments.flag("--ema", ema, "Take the averaged weights of a file that has plain and averaged ones");
  arguments.add("--labels", labels, "Text file with one class name per line");
  arguments.add("--resize", resize, "Shorter side before the crop (0: both sides become the crop's)")
      .within(0, 16384);
  arguments.add("--crop", crop, "Side of the centre square").within(1, 16384);
  arguments.add("--mean", mean, "Mean of each channel, of values in 0 ... 1").three_numbers().finite();
  arguments.add("--std", std, "Standard deviation of each channel").three_numbers().finite();
}

}  // namespace retrace::tools
