// What every command that runs a network shares: device, model, labels, preprocessing, and batches of
// pictures.
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

// What a model's input asks of a picture.
image::Preprocessing preprocessing_of(const ModelInput& input);

class Session {
 public:
  Session(const CommonOptions& common, const ModelOptions& options, Console& console);

  Device& device() { return *device_; }
  const Model& model() const { return *model_; }
  const image::Preprocessing& preprocessing() const { return preprocessing_; }
  std::size_t batch() const { return batch_; }  // pictures computed at once
  // The classes' names; empty where none are known.
  const std::vector<std::string>& labels() const { return labels_; }
  // The class's name, or "class N" where none is known.
  std::string label(int index) const;
  // A class by index or label. UsageError if there is none such.
  int class_of(const std::string& text) const;

  // A picture as the model takes it.
  Picture prepare(const Picture& picture) const { return image::prepare(picture, preprocessing_); }

  // One forward pass over prepared pictures of one size. Error if a score is NaN or infinite.
  struct Forward {
    std::unique_ptr<Tape> tape;
    NodeId input = no_node, logits = no_node;
    std::vector<float> scores, probabilities;  // [n, classes]
    // The classes of image i, best first, at most `most` of them; the lower index first where scores are
    // equal.
    std::vector<int> best(std::size_t i, std::size_t most) const;
    std::size_t classes = 0;
  };
  Forward forward(const std::vector<Picture>& prepared);

  struct Item {
    std::filesystem::path path;
    Picture prepared;
  };
  // A forward pass over one black picture: for what only a tape can tell (which layers there are), to be
  // asked before anything is written.
  Forward try_forward();

  // Reads and prepares the pictures, and calls `work` with batches of those that can be used; the others are
  // reported and counted as errors. Where `work` throws an Error or runs out of memory, it is called again
  // for each picture of the batch alone, so that one does not take the others along; what then fails is
  // reported. So `work` prints nothing before all of it is done.
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

// The pictures that the arguments mean. A folder that cannot be read or has none is reported and counted as
// an error.
std::vector<std::filesystem::path> find_images(const std::vector<std::filesystem::path>& arguments,
                                               Console& console);

// One line per class. Throws Error naming the file if it cannot be read, is not text, or does not have
// `classes` lines.
std::vector<std::string> read_labels(const std::filesystem::path& path, int classes);

// Creates the folder if it is not there. UsageError for an empty name, Error naming it if that fails or it is
// something else.
void make_folder(const std::filesystem::path& path);

}  // namespace retrace::tools
