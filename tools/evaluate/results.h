// What was measured, and the columns in which every report shows it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "attribution/measures/localization.h"
#include "attribution/measures/perturbation.h"
#include "tools/evaluate/accuracy.h"

namespace retrace::tools {

// The mask is made wider by this many pixels, and by a CAM's cell.
constexpr int tolerance_pixels = 3;

// What takes the place of removed patches.
enum class Removal : std::uint8_t { blur, grey };

// One question: why this class, in this sample?
struct Asked {
  std::size_t sample = 0;
  int target = 0;
  std::string name;
  int answer = 0;          // the network's best class
  double probability = 0;  // of the target
  double mask_share = 0;   // of the picture; 0 without a mask
};

struct Localization {
  double mass = 0, mass_pixels = 0, mass_cell = 0;  // inside the mask; widened by pixels; by a cell
  double rank = 0;
  double pointing_pixels = 0, pointing_cell = 0;
  bool empty = false;  // the map shows nothing: all of the above are 0
};

// A method or a baseline. The lists run beside Results::single and ::several.
struct MethodResults {
  std::string name;
  bool baseline = false, cam = false;
  int cell_height = 0, cell_width = 0;                    // a cell in pixels; 0 where no CAM was asked for
  std::vector<std::optional<Localization>> localization;  // empty where the sample has no mask
  std::vector<measures::Curves> curves;
  std::vector<measures::ObjectShare> objects;

  // How good its map of single[i] is: what the gallery sorts by. Mass inside the mask widened by what the method can
  // resolve; without a mask the deletion and insertion score.
  double quality(std::size_t i) const;
};

struct Results {
  std::string data, model;
  std::size_t samples = 0;  // read and classified
  Accuracy accuracy{{}};
  int height = 0, width = 0;  // of the pictures as the network sees them
  int patch = 0, steps = 0;
  Removal removal = Removal::blur;
  std::vector<Asked> single;   // samples of one class
  std::vector<Asked> several;  // samples of several: once for each of their classes
  std::vector<MethodResults> methods;

  bool has_masks() const;
};

struct Summary {
  std::size_t count = 0;
  double mean = 0, error = 0;  // its standard error: s / √n; 0 for fewer than two values
};
Summary summarize(const std::vector<double>& values);

struct Column {
  std::string key, title;
  bool percent = true;
  std::vector<std::optional<Summary>> values;  // one per method; empty where it does not apply
};

struct Table {
  std::string key, title;
  std::string explanation;  // one sentence: how to read it
  std::size_t count = 0;    // pictures, or questions
  std::vector<Column> columns;
};

// Those of localization, two objects, and deletion and insertion for which there is data.
std::vector<Table> tables(const Results& results);

// Where a method does well and where not: the mean quality of maps for right and wrong answers, and for the smallest,
// the middle and the largest third of the objects.
struct Breakdown {
  std::string what;
  Summary summary;
};
std::vector<Breakdown> breakdown(const Results& results, const MethodResults& method);

}  // namespace retrace::tools
