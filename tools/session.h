// What every command that runs a network shares: device, model, labels, preprocessing, and batches of pictures.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attribution/render/picture.h"
#include "engine/models/load.h"
#include "engine/tape.h"
#include "tools/console.h"
#include "tools/image/preprocess.h"
#include "tools/options.h"

namespace retrace::tools {

// A device for these options; sets the simulator's threads. UsageError for what this build cannot do.
std::unique_ptr<Device> open_device(const CommonOptions& common);

class Session {
 public:
  Session(const CommonOptions& common, const ModelOptions& options, Console& console);

  Device& device() { return *device_; }
  const Model& model() const { return *model_; }
  // The class's name, or "class N" where none is known.
  std::string label(int index) const;
  // A class by index or label. UsageError if there is none such.
  int class_of(const std::string& text) const;

  // One forward pass over prepared pictures.
  struct Forward {
    std::unique_ptr<Tape> tape;
    NodeId input = no_node, logits = no_node;
    std::vector<float> scores, probabilities;  // [n, classes]
    // The classes of image i, best first, at most `most` of them; the lower index first where scores are equal.
    std::vector<int> best(std::size_t i, std::size_t most) const;
    std::size_t classes = 0;
  };
  Forward forward(const std::vector<Picture>& prepared);

  struct Item {
    std::filesystem::path path;
    Picture prepared;
  };
  // Reads and prepares the pictures, and calls `work` with batches of those that can be used; the others are
  // reported and counted as errors, and so is an Error `work` throws (for its whole batch).
  void for_each_batch(const std::vector<std::filesystem::path>& images,
                      const std::function<void(const std::vector<Item>&)>& work);

 private:
  Console& console_;
  std::size_t batch_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Model> model_;
  std::vector<std::string> labels_;
  image::Preprocessing preprocessing_;
};

// One line per class. Throws Error naming the file if it cannot be read, is not text, or does not have `classes`
// lines.
std::vector<std::string> read_labels(const std::filesystem::path& path, int classes);

// Creates the folder if it is not there. Error naming it if that fails or it is something else.
void make_folder(const std::filesystem::path& path);

}  // namespace retrace::tools
