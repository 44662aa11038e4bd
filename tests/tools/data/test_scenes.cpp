// The generator's promises: the same pictures everywhere, fair classes, exact masks, visible objects.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>
#include <thread>

#include "kernels/error.h"
#include "tools/data/scenes.h"

namespace retrace::data {
namespace {

// FNV-1a, 64 bits.
std::uint64_t hash(std::uint64_t state, const std::vector<std::uint8_t>& bytes) {
  for (const std::uint8_t b : bytes) state = (state ^ b) * 0x100000001B3u;
  return state;
}

std::uint64_t hash(const Sample& sample) {
  std::uint64_t state = hash(0xCBF29CE484222325u, sample.picture.rgb);
  for (const Object& object : sample.objects) state = hash(state, object.mask) ^ std::uint64_t(object.label);
  return state;
}

std::string hashes(const SceneOptions& options, std::initializer_list<std::size_t> indices) {
  const Scenes scenes(options);
  std::string out;
  char text[20];
  for (const std::size_t i : indices) {
    std::snprintf(text, sizeof text, "%016llx ", static_cast<unsigned long long>(hash(scenes.sample(i))));
    out += text;
  }
  return out;
}

TEST_CASE("pictures and masks have not changed") {
  // Networks were trained on these: another generator is another data set.
  CHECK(hashes({}, {0, 1, 2, 19999}) ==
        "22466722629e1f5e 730a427ef8899c9a be804fe6f826e644 83a2566afa412205 ");
  CHECK(hashes({.size = 37,
                .count = 100,
                .seed = 0xFFFFFFFFFFFFFFFFu,
                .fewest_objects = 2,
                .fewest_distractors = 9,
                .most_distractors = 9},
               {0, 99}) == "e64b81902e6a35e8 6f9a21380cd15c60 ");
  // Enough of them to meet every class, texture and distractor.
  std::uint64_t all = 0;
  const Scenes small({.size = 40, .count = 100});
  for (std::size_t i = 0; i < 100; ++i) all = all * 0x100000001B3u ^ hash(small.sample(i));
  CHECK(all == 0xB2644F7675F98DEAu);
}

TEST_CASE("a sample is the same whenever, whichever thread asks, and however many there are") {
  const Scenes scenes({.size = 48, .count = 40});
  std::vector<std::uint64_t> expected;
  for (std::size_t i = 0; i < 40; ++i) expected.push_back(hash(scenes.sample(i)));
  std::array<std::vector<std::uint64_t>, 3> found;
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < found.size(); ++t)
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < 40; ++i) found[t].push_back(hash(scenes.sample((i * 7 + t * 11) % 40)));
      });
  }
  for (std::size_t t = 0; t < found.size(); ++t)
    for (std::size_t i = 0; i < 40; ++i) CHECK(found[t][i] == expected[(i * 7 + t * 11) % 40]);
  CHECK(hash(Scenes({.size = 48, .count = 1000000}).sample(39)) == expected[39]);
  CHECK(std::set(expected.begin(), expected.end()).size() == 40);
}

TEST_CASE("other seeds have nothing in common") {
  std::set<std::pair<float, float>> centres;
  for (const std::uint64_t seed : {0u, 1u, 2u, 3u, 256u})
    for (std::size_t i = 0; i < 400; ++i) {
      const auto figures = Scenes({.seed = seed}).figures(i);
      centres.insert({figures[0].centre().x, figures[0].centre().y});
    }
  // Two of 2000 among 2^24 steps of each coordinate meet once in eight million runs.
  CHECK(centres.size() == 2000);
}

TEST_CASE("classes and numbers of objects are equally frequent, and two objects are of two classes") {
  const Scenes scenes{SceneOptions{}};
  constexpr int n = 16000;
  std::array<int, scenes::shape_count> first{}, second{};
  int pairs = 0, alike = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto figures = scenes.figures(i);
    ++first[std::size_t(figures[0].shape())];
    if (figures.size() < 2) continue;
    ++pairs;
    ++second[std::size_t(figures[1].shape())];
    alike += figures[0].shape() == figures[1].shape();
  }
  // Five standard deviations of a binomial count.
  const auto likely = [](int count, double trials, double p) {
    return std::abs(count - trials * p) < 5 * std::sqrt(trials * p * (1 - p));
  };
  CHECK(alike == 0);
  CHECK(likely(pairs, n, 0.5));
  for (std::size_t k = 0; k < first.size(); ++k) {
    CHECK(likely(first[k], n, 1.0 / 8));
    CHECK(likely(second[k], pairs, 1.0 / 8));
  }
}

TEST_CASE("objects lie inside, apart, of the promised size, and masks are theirs") {
  for (const int size : {24, 64}) {
    const Scenes scenes({.size = size, .count = 200, .seed = 5});
    for (std::size_t i = 0; i < 200; ++i) {
      const auto figures = scenes.figures(i);
      const Sample sample = scenes.sample(i);
      CAPTURE(sample.name);
      REQUIRE(sample.picture.rgb.size() == std::size_t(size) * size * 3);
      REQUIRE(sample.objects.size() == figures.size());
      CHECK(sample.label == sample.objects[0].label);
      std::vector<int> covered(std::size_t(size) * size);
      for (std::size_t k = 0; k < figures.size(); ++k) {
        const Object& object = sample.objects[k];
        CHECK(object.label == int(figures[k].shape()));
        REQUIRE(object.mask.size() == covered.size());
        const float share = 2 * figures[k].radius() / float(size);
        CHECK(share >= (figures.size() == 1 ? 0.28f : 0.25f));
        CHECK(share <= (figures.size() == 1 ? 0.6f : 0.42f));
        int area = 0, on_edge = 0, neither = 0;
        for (int y = 0; y < size; ++y)
          for (int x = 0; x < size; ++x) {
            const std::size_t p = std::size_t(y) * size + x;
            const int value = object.mask[p];
            neither += value > 1;
            on_edge += value && (x == 0 || y == 0 || x == size - 1 || y == size - 1);
            area += value;
            covered[p] += value;
          }
        CHECK(neither == 0);
        CHECK(on_edge == 0);
        // From a thin star or crescent (0.9 r², and a rough count of few pixels) to a disc (3.2 r²).
        const float square = figures[k].radius() * figures[k].radius();
        CHECK(float(area) > 0.8f * square);
        CHECK(float(area) < 3.4f * square);
      }
      CHECK(*std::max_element(covered.begin(), covered.end()) == 1);
    }
  }
}

// Of the places on an object's border, at how many its inside differs clearly from what lies outside.
double visible_share(const Sample& sample, const Object& object) {
  const int size = sample.picture.width;
  const auto in_picture = [&](int x, int y) { return x >= 0 && y >= 0 && x < size && y < size; };
  const auto inside = [&](int x, int y) {
    return in_picture(x, y) && object.mask[std::size_t(y) * size + x];
  };
  // The least contrast times the least brightness, less what noise of up to 12 a channel mostly takes away.
  constexpr double clear = 45;
  int seen = 0, all = 0;
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      for (const auto& [dx, dy] : {std::pair{1, 0}, {-1, 0}, {0, 1}, {0, -1}}) {
        // Edges are blended over a pixel: compare a pixel's distance away from the border on either side.
        const int out_x = x + 2 * dx, out_y = y + 2 * dy;
        if (!inside(x, y) || inside(x + dx, y + dy) || inside(out_x, out_y) || !in_picture(out_x, out_y))
          continue;
        if (!inside(x - dx, y - dy)) continue;
        bool differs = false;
        // An outline may begin to fade there: then what it surrounds counts.
        for (const int depth : {1, 3}) {
          const int in_x = x - depth * dx, in_y = y - depth * dy;
          if (!inside(in_x, in_y)) continue;
          double square = 0;
          for (int c = 0; c < 3; ++c) {
            const double d =
                double(sample.picture.pixel(in_x, in_y)[c]) - double(sample.picture.pixel(out_x, out_y)[c]);
            square += d * d;
          }
          differs |= std::sqrt(square) > clear;
        }
        ++all;
        seen += differs;
      }
  REQUIRE(all > 20);
  return double(seen) / all;
}

TEST_CASE("objects can be seen against what surrounds them, all around") {
  const Scenes scenes({.size = 96, .count = 120, .seed = 3});
  double sum = 0;
  int n = 0;
  for (std::size_t i = 0; i < scenes.size(); ++i) {
    const Sample sample = scenes.sample(i);
    for (const Object& object : sample.objects) {
      const double share = visible_share(sample, object);
      CAPTURE(sample.name);
      CHECK(share > 0.85);  // 90 % are promised of all that is near, not of what touches
      sum += share, ++n;
    }
  }
  CHECK(sum / n > 0.98);
}

TEST_CASE("options out of range, and samples that are not there") {
  CHECK_THROWS_AS(Scenes({.size = 23}), UsageError);
  CHECK_THROWS_AS(Scenes({.size = 1025}), UsageError);
  CHECK_THROWS_AS(Scenes({.count = 0}), UsageError);
  CHECK_THROWS_AS(Scenes({.count = std::size_t(-1)}), UsageError);
  CHECK_THROWS_AS(Scenes({.fewest_objects = 0}), UsageError);
  CHECK_THROWS_AS(Scenes({.most_objects = 3}), UsageError);
  CHECK_THROWS_AS(Scenes({.fewest_objects = 2, .most_objects = 1}), UsageError);
  CHECK_THROWS_AS(Scenes({.fewest_distractors = -1}), UsageError);
  CHECK_THROWS_AS(Scenes({.most_distractors = 41}), UsageError);
  CHECK_THROWS_AS(Scenes({.least_texture = -0.1f}), UsageError);
  CHECK_THROWS_AS(Scenes({.most_texture = 1.1f}), UsageError);
  CHECK_THROWS_AS(Scenes({.least_texture = 0.6f, .most_texture = 0.5f}), UsageError);
  CHECK_THROWS_AS(Scenes({.least_texture = std::nanf("")}), UsageError);
  CHECK_THROWS_WITH_AS(
      Scenes({.size = 24, .count = 3}).sample(3),
      "scenes:size=24,count=3,seed=1,objects=1-2,distractors=0-6,texture=0-1: sample 3, expected 0 to 2",
      Error);
}

TEST_CASE("targets share the probability among the objects' classes") {
  const Scenes scenes({.size = 32, .count = 30});
  for (std::size_t i = 0; i < 30; ++i) {
    const Sample sample = scenes.sample(i);
    const std::vector<float> target = scenes.target(sample);
    REQUIRE(target.size() == 8);
    CHECK(std::accumulate(target.begin(), target.end(), 0.0f) == 1);
    for (const Object& object : sample.objects)
      CHECK(target[std::size_t(object.label)] == 1 / float(sample.objects.size()));
  }
  Sample wrong;
  wrong.name = "x";
  wrong.label = 8;
  CHECK_THROWS_WITH_AS(scenes.target(wrong), "x: label 8, expected 0 to 7", Error);
}

}  // namespace
}  // namespace retrace::data
