// Runs a network over labelled pictures, explains some of them and measures the maps.
#pragma once
#include <vector>

#include "attribution/attribute.h"
#include "attribution/measures/mask.h"
#include "tools/data/dataset.h"
#include "tools/evaluate/results.h"
#include "tools/session.h"

namespace retrace::tools {

struct EvaluateOptions {
  std::vector<Method> methods;
  std::size_t count = 64;  // samples of one class explained, and as many of several classes; 0: none
  int steps = 16;          // of deletion and insertion
  int patch = 0;           // pixels a side; 0: an eighth of the picture's side
  Removal removal = Removal::blur;
  std::uint64_t seed = 1;  // of the random order
};

// UsageError if model and data have not the same classes: their number, or, where the model's are known, their names.
void check_classes(const Session& session, const data::Dataset& dataset);

class Evaluator {
 public:
  Evaluator(Session& session, Console& console, const data::Dataset& dataset, EvaluateOptions options)
      : session_(session), console_(console), dataset_(dataset), o_(std::move(options)) {}

  // Classifies every sample, then explains the first `count` of one class and of several: why the class that is
  // there, whatever the network answered. Samples that cannot be read are reported, and counted by the console.
  // Throws Error if none can.
  Results run();

  // A sample as the network sees it, with the mask of each of its classes.
  struct Ready {
    data::Sample sample;
    Picture picture;
    std::vector<int> classes;
    std::vector<measures::Mask> masks;  // beside `classes`; none where the sample has none
  };
  Ready ready(std::size_t index) const;

  // One map a picture, one value a pixel: pixel attributions summed over the channels.
  struct Maps {
    std::vector<std::vector<float>> maps;
    int grid_height = 0, grid_width = 0;  // of a CAM
    std::vector<std::string> warnings;
  };
  Maps explain(const Session::Forward& pass, const std::vector<Ready>& batch, const std::vector<int>& targets,
               const Method& method) const;

 private:
  struct Question {
    std::size_t sample;
    int target;
  };
  void classify(Results& results);
  void measure(Results& results, const std::vector<Question>& questions);
  void measure_one(Results& results, const Ready& ready, Asked asked,
                   const std::vector<std::vector<float>>& maps);

  Session& session_;
  Console& console_;
  const data::Dataset& dataset_;
  EvaluateOptions o_;
  std::vector<Question> single_, several_;
};

}  // namespace retrace::tools
