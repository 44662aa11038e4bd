// Labelled pictures to train on and to measure with.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "attribution/render/picture.h"

namespace retrace::data {

// Where one object of a picture really is.
struct Object {
  int label = 0;
  std::vector<std::uint8_t> mask;  // [height · width], 1 where the object is visible, else 0
};

struct Sample {
  Picture picture;
  int label = 0;                // the class; of several objects the first's
  std::vector<Object> objects;  // empty where the data has no masks
  std::string name;             // for messages and file names: a path, or "scenes/17"
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::size_t size() const = 0;
  // One per class.
  virtual const std::vector<std::string>& labels() const = 0;
  // The same sample for the same index, always; may be called from several threads at once. Throws Error naming the
  // file and what is wrong with it.
  virtual Sample sample(std::size_t index) const = 0;
  // "scenes:size=128,count=20000,seed=7": opens the same data again.
  virtual const std::string& spec() const = 0;
  // The probability of each class that a network should learn for a sample: all on its label, or shared equally by its
  // objects' classes.
  std::vector<float> target(const Sample& sample) const;
};

// KIND:… where KIND is
//   scenes[:size=128,count=20000,seed=1,objects=1-2]     pictures made by a generator (scenes.h lists every option)
//   idx:FOLDER[,split=train|test,labels=digits|fashion]  idx files, as MNIST and Fashion-MNIST come, plain or .gz
//   folder:FOLDER                                        one sub-folder of pictures per class
// UsageError for a malformed spec; Error where the data is not there or makes no sense.
std::unique_ptr<Dataset> open_dataset(const std::string& spec);

}  // namespace retrace::data
