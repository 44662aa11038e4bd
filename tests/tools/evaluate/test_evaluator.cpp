// The whole of it on data in memory, with a network whose weights are seeded.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "attribution/measures/baselines.h"
#include "tools/evaluate/evaluator.h"
#include "tools/evaluate/gallery.h"

namespace retrace::tools {
namespace {

const std::vector<std::string> cifar{"airplane", "automobile", "bird",  "cat",  "deer",
                                     "dog",      "frog",       "horse", "ship", "truck"};

// Noise with bright rectangles where the objects are.
class InMemory final : public data::Dataset {
 public:
  std::vector<data::Sample> samples;
  std::vector<std::string> names = cifar;
  std::size_t unreadable = std::size_t(-1);

  std::size_t size() const override { return samples.size(); }
  const std::vector<std::string>& labels() const override { return names; }
  data::Sample sample(std::size_t index) const override {
    if (index == unreadable) throw Error("sample " + std::to_string(index) + ": cannot be read");
    return samples.at(index);
  }
  const std::string& spec() const override { return spec_; }

  // Objects of 8 x 8 pixels at (x, y); without any, no masks.
  void add(int label, const std::vector<std::array<int, 3>>& objects, int side = 32) {
    data::Sample s;
    s.name = "sample " + std::to_string(samples.size());
    s.label = label;
    std::mt19937 random(unsigned(samples.size()) + 1);
    s.picture = {side, side, std::vector<std::uint8_t>(std::size_t(side * side * 3))};
    for (auto& v : s.picture.rgb) v = std::uint8_t(random() % 100);
    for (const auto& [c, x0, y0] : objects) {
      data::Object object{c, std::vector<std::uint8_t>(std::size_t(side * side), 0)};
      for (int y = y0; y < y0 + 8; ++y)
        for (int x = x0; x < x0 + 8; ++x) {
          object.mask[std::size_t(y * side + x)] = 1;
          s.picture.pixel(x, y)[std::size_t(c % 3)] = 250;
        }
      s.objects.push_back(std::move(object));
    }
    samples.push_back(std::move(s));
  }

 private:
  std::string spec_ = "memory";
};

struct Fixture {
  Console console{true};
  CommonOptions common;
  ModelOptions model;
  InMemory data;
  Fixture() {
    common.device = "sim";
    common.batch = 3;
    model.model = "cifar_resnet20";  // seeded weights
  }
};

const EvaluateOptions quick{.methods = parse_methods({"grad-cam:layer=layer3;lrp"}), .count = 2, .steps = 2};

TEST_CASE("what it measures is what the parts measure") {
  Fixture f;
  f.data.add(3, {{3, 2, 5}});
  f.data.add(5, {{5, 20, 20}, {1, 3, 3}});
  f.data.add(0, {{0, 12, 12}});
  f.data.add(1, {{1, 0, 24}});  // past `count`: classified, not explained
  Session session(f.common, f.model, f.console);
  check_classes(session, f.data);
  Evaluator evaluator(session, f.console, f.data, quick);
  const Results r = evaluator.run();
  CHECK(r.samples == 4);
  CHECK(r.accuracy.one_class == 3);
  CHECK(r.accuracy.several == 1);
  REQUIRE(r.single.size() == 2);
  CHECK(r.single[0].sample == 0);
  CHECK(r.single[1].sample == 2);
  CHECK(r.single[0].mask_share == 64.0 / 1024);
  REQUIRE(r.several.size() == 2);
  CHECK(r.several[0].target == 5);
  CHECK(r.several[1].target == 1);
  REQUIRE(r.methods.size() == 4);
  for (const MethodResults& m : r.methods) {
    CHECK(m.localization.size() == 2);
    CHECK(m.curves.size() == 2);
    CHECK(m.objects.size() == 2);
    CHECK(m.cell_height == 4);  // 32 pixels, 8 cells
    // Both ends of the curves are the pictures' own, whatever the method.
    CHECK(m.curves[0].deletion.front() == doctest::Approx(r.single[0].probability));
    CHECK(m.curves[0].insertion.back() == m.curves[0].deletion.front());
    CHECK(m.curves[0].deletion.back() == r.methods[0].curves[0].deletion.back());
  }
  CHECK(r.methods[0].cam);
  CHECK(r.methods[2].baseline);

  // The same maps, one at a time; a batch changes nothing, to the bit.
  for (std::size_t i = 0; i < 2; ++i) {
    const data::Sample& s = f.data.samples[r.single[i].sample];
    const Session::Forward pass = session.forward({s.picture});
    const Attribution lrp =
        attribute(session.model(), *pass.tape, pass.logits, {s.label}, parse_method("lrp"));
    std::vector<float> map(1024);
    for (std::size_t p = 0; p < 1024; ++p)
      map[p] = float(double(lrp.values[p]) + lrp.values[1024 + p] + lrp.values[2048 + p]);
    const measures::Mask& mask = s.objects[0].mask;
    const measures::Mask wide = measures::dilate_disc(mask, 32, 32, 3),
                         cell = measures::dilate_cell(mask, 32, 32, 8, 8);
    const Localization& l = *r.methods[1].localization[i];
    CHECK(l.mass == measures::mass_accuracy(map, mask));
    CHECK(l.mass_pixels == measures::mass_accuracy(map, wide));
    CHECK(l.mass_cell == measures::mass_accuracy(map, cell));
    CHECK(l.rank == measures::rank_accuracy(map, mask));
    CHECK(l.pointing_pixels == measures::pointing_game(map, wide));
    CHECK(l.pointing_cell == measures::pointing_game(map, cell));
    CHECK(r.methods[3].localization[i]->mass == measures::mass_accuracy(measures::centre_map(32, 32), mask));
    CHECK(r.methods[1].curves[i].deletion.front() == pass.probabilities[std::size_t(s.label)]);
  }
  // Two objects: the baseline that does not listen has the same mass on each, whichever is asked for.
  const auto& centre = r.methods[3].objects;
  CHECK(centre[0].own == centre[1].other);
  CHECK(centre[0].other == centre[1].own);
  CHECK(centre[0].follows() != centre[1].follows());

  SUBCASE("and the galleries show it") {
    const auto folder = std::filesystem::temp_directory_path() / ("retrace-gallery-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const auto galleries = write_galleries(evaluator, session, r, quick.methods, folder);
    REQUIRE(galleries.size() == 2);
    CHECK(galleries[0].worst == "grad-cam_layer=layer3.worst.png");
    for (const Gallery& g : galleries)
      for (const std::string& name : {g.worst, g.best, g.objects})
        CHECK(std::filesystem::file_size(folder / name) > 0);
    std::filesystem::remove_all(folder);
  }
}

TEST_CASE("data without masks") {
  Fixture f;
  f.data.add(3, {});
  f.data.add(4, {});
  Session session(f.common, f.model, f.console);
  const Results r = Evaluator(session, f.console, f.data, quick).run();
  CHECK_FALSE(r.has_masks());
  CHECK(r.several.empty());
  CHECK(r.methods[1].curves.size() == 2);
}

TEST_CASE("masks go the way of the picture") {
  Fixture f;
  f.data.add(3, {{3, 24, 40}}, 64);
  f.model.resize = 0;  // both sides to 32
  Session session(f.common, f.model, f.console);
  const Evaluator evaluator(session, f.console, f.data, quick);
  const auto ready = evaluator.ready(0);
  CHECK(ready.picture.width == 32);
  REQUIRE(ready.masks.size() == 1);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x)
      CHECK(bool(ready.masks[0][std::size_t(y * 32 + x)]) == (x >= 12 && x < 16 && y >= 20 && y < 24));
}

TEST_CASE("an object outside what the network sees is left out") {
  Fixture f;
  f.data.add(3, {{3, 0, 0}}, 64);    // cropped away
  f.data.add(3, {{3, 28, 28}}, 64);  // in the middle
  f.model.resize = 64;
  Session session(f.common, f.model, f.console);
  const Results r = Evaluator(session, f.console, f.data, quick).run();
  CHECK(r.samples == 2);
  REQUIRE(r.single.size() == 1);
  CHECK(r.single[0].sample == 1);
  for (const MethodResults& m : r.methods) CHECK(m.localization.size() == 1);
}

TEST_CASE("samples that cannot be read, and masks of a wrong size, are reported") {
  Fixture f;
  f.data.add(3, {});
  f.data.add(4, {});
  f.data.add(4, {{4, 1, 1}});
  f.data.samples[2].objects[0].mask.pop_back();
  f.data.unreadable = 0;
  Session session(f.common, f.model, f.console);
  EvaluateOptions none = quick;
  none.count = 0;
  const Results r = Evaluator(session, f.console, f.data, none).run();
  CHECK(r.samples == 1);
  CHECK(r.methods.empty());
  CHECK(f.console.errors() == 2);
  f.data.samples.resize(1);
  CHECK_THROWS_WITH_AS(Evaluator(session, f.console, f.data, none).run(),
                       "--data memory: no sample could be read", Error);
}

TEST_CASE("classes must be the same") {
  Fixture f;
  Session session(f.common, f.model, f.console);
  f.data.names[4] = "moose";
  CHECK_THROWS_WITH_AS(
      check_classes(session, f.data),
      "class 4 is 'moose' in --data memory and 'deer' in cifar_resnet20: expected the same (--labels "
      "says what the model's are)",
      UsageError);
  f.data.names = {"a", "b"};
  CHECK_THROWS_WITH_AS(check_classes(session, f.data),
                       "--data memory has 2 classes (a, b), cifar_resnet20 has 10: expected the same",
                       UsageError);
}

}  // namespace
}  // namespace retrace::tools
