// Batches: the right pictures in the right order, however they are made.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <numeric>
#include <set>
#include <string>
#include <thread>

#include "kernels/error.h"
#include "tools/data/loader.h"
#include "tools/data/scenes.h"

namespace retrace::data {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Pictures of one colour that says which they are.
class Numbered final : public Dataset {
 public:
  explicit Numbered(std::size_t size) : size_(size) {}
  std::size_t size() const override { return size_; }
  const std::vector<std::string>& labels() const override { return labels_; }
  const std::string& spec() const override { return spec_; }
  Sample sample(std::size_t index) const override {
    ++calls;
    if (before) before(index);
    Sample sample;
    sample.picture =
        render::blank(int(index) == odd_one ? 3 : 2, 2, {std::uint8_t(index), std::uint8_t(index >> 8), 9});
    sample.label = int(index % 3);
    sample.name = "number " + std::to_string(index);
    return sample;
  }

  mutable std::atomic<int> calls = 0;
  std::function<void(std::size_t)> before;
  int odd_one = -1;

 private:
  std::size_t size_;
  std::vector<std::string> labels_{"a", "b", "c"};
  std::string spec_ = "numbered";
};

LoaderOptions plain(int batch) {
  LoaderOptions options;
  options.batch = batch;
  options.input.resize_shorter = options.input.crop = 0;
  return options;
}

void check_same(const Batch& a, const Batch& b) {
  CHECK(a.step == b.step);
  CHECK(a.epoch == b.epoch);
  CHECK(a.indices == b.indices);
  CHECK(a.pixels == b.pixels);
  CHECK(a.targets == b.targets);
  CHECK(a.labels == b.labels);
  CHECK(a.last_of_epoch == b.last_of_epoch);
}

std::vector<Batch> take(const Dataset& data, const LoaderOptions& options, int count) {
  BatchLoader loader(data, options);
  std::vector<Batch> out;
  for (int i = 0; i < count; ++i) {
    std::optional<Batch> batch = loader.next();
    REQUIRE(batch);
    out.push_back(std::move(*batch));
  }
  return out;
}

TEST_CASE("without shuffling: one pass in order, the short batch at its end with it") {
  const Numbered data(10);
  LoaderOptions options = plain(4);
  options.shuffle = false;
  options.threads = 2;
  BatchLoader loader(data, options);
  CHECK(loader.steps_per_epoch() == 3);
  for (std::size_t step = 0; step < 3; ++step) {
    const std::optional<Batch> batch = loader.next();
    REQUIRE(batch);
    CHECK(batch->n == (step == 2 ? 2 : 4));
    CHECK(batch->height == 2);
    CHECK(batch->width == 2);
    CHECK(batch->classes == 3);
    CHECK(batch->step == step);
    CHECK(batch->epoch == 0);
    CHECK(batch->last_of_epoch == (step == 2));
    const std::size_t n = std::size_t(batch->n);
    REQUIRE(batch->pixels.size() == n * 12);
    REQUIRE(batch->targets.size() == n * 3);
    REQUIRE(batch->labels.size() == n);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t index = step * 4 + i;
      CHECK(batch->indices[i] == index);
      CHECK(batch->labels[i] == int(index % 3));
      for (std::size_t k = 0; k < 3; ++k) CHECK(batch->targets[i * 3 + k] == float(k == index % 3));
      for (std::size_t k = 0; k < 4; ++k) CHECK(std::size_t(batch->pixels[i * 12 + k * 3]) == index);
    }
  }
  CHECK_FALSE(loader.next());
  CHECK_FALSE(loader.next());
  options.first_step = 2;
  CHECK(take(data, options, 1)[0].indices == std::vector<std::size_t>{8, 9});
  options.first_step = 3;
  CHECK_FALSE(BatchLoader(data, options).next());
}

TEST_CASE("every epoch is another permutation, short of what does not fill a batch") {
  const Numbered data(22);
  const std::vector<Batch> batches = take(data, plain(4), 15);  // three epochs of five
  std::vector<std::vector<std::size_t>> orders(3);
  for (std::size_t step = 0; step < 15; ++step) {
    const Batch& batch = batches[step];
    CHECK(batch.n == 4);
    CHECK(batch.step == step);
    CHECK(batch.epoch == step / 5);
    CHECK(batch.last_of_epoch == (step % 5 == 4));
    orders[batch.epoch].insert(orders[batch.epoch].end(), batch.indices.begin(), batch.indices.end());
  }
  for (const auto& order : orders) {
    CHECK(std::set(order.begin(), order.end()).size() == 20);
    CHECK_FALSE(std::is_sorted(order.begin(), order.end()));
  }
  CHECK(orders[0] != orders[1]);
  CHECK(orders[1] != orders[2]);
  LoaderOptions other = plain(4);
  other.seed = 2;
  CHECK(take(data, other, 1)[0].indices != batches[0].indices);
}

TEST_CASE("the order favours no place") {
  const Numbered data(8);
  std::array<std::array<int, 8>, 8> counts{};
  constexpr int epochs = 2000;
  for (const Batch& batch : take(data, plain(8), epochs))
    for (std::size_t i = 0; i < 8; ++i) ++counts[i][batch.indices[i]];
  // Binomial: 250 ± 14.8; five deviations.
  for (const auto& row : counts)
    for (const int count : row) CHECK(std::abs(count - 250) < 75);
}

TEST_CASE("resumed anywhere and with any threads, the batches are those of a straight run") {
  const Scenes data({.size = 32, .count = 21});
  LoaderOptions options;
  options.batch = 4;
  options.input = {.resize_shorter = 0, .crop = 24};
  options.augmentation = {.crop = 2, .flip = true, .jitter = 0.2f};
  const std::vector<Batch> straight = take(data, options, 14);  // epochs of five
  CHECK(straight[0].width == 24);
  for (const int threads : {1, 3})
    for (const std::size_t first : {0u, 1u, 4u, 5u, 12u}) {
      options.threads = threads;
      options.first_step = first;
      options.ahead = threads == 1 ? 1 : 5;
      const std::vector<Batch> resumed = take(data, options, int(14 - first));
      for (std::size_t i = 0; i < resumed.size(); ++i) check_same(resumed[i], straight[first + i]);
    }
  // Epochs see the same picture differently.
  std::set<std::string> views;
  for (const Batch& batch : straight)
    for (std::size_t i = 0; i < 4; ++i)
      if (batch.indices[i] == straight[0].indices[0]) {
        const auto start = batch.pixels.begin() + std::ptrdiff_t(i * 24 * 24 * 3);
        views.emplace(start, start + 24 * 24 * 3);
      }
  CHECK(views.size() >= 2);
}

TEST_CASE("no more batches are made ahead than asked for") {
  const Numbered data(1000);
  LoaderOptions options = plain(10);
  options.ahead = 3;
  options.threads = 2;
  BatchLoader loader(data, options);
  const auto settles_at = [&](int calls) {
    const auto deadline = Clock::now() + 20s;
    while (data.calls < calls && Clock::now() < deadline) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(30ms);  // time to go too far
    CHECK(data.calls == calls);
  };
  settles_at(30);
  loader.next();
  settles_at(40);
  loader.next();
  loader.next();
  settles_at(60);
}

TEST_CASE("what goes wrong in a thread reaches the caller, after the batches before it") {
  struct Peculiar : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  for (const int threads : {1, 3}) {
    Numbered data(40);
    data.before = [](std::size_t index) {
      if (index == 13) throw Peculiar("thirteen");
    };
    LoaderOptions options = plain(4);
    options.shuffle = false;
    options.threads = threads;
    BatchLoader loader(data, options);
    for (int i = 0; i < 3; ++i) CHECK(loader.next()->labels.size() == 4);
    CHECK_THROWS_WITH_AS(loader.next(), "thirteen", Peculiar);
    CHECK_THROWS_WITH_AS(loader.next(), "thirteen", Peculiar);
  }
  Numbered uneven(8);
  uneven.odd_one = 5;
  LoaderOptions options = plain(4);
  options.shuffle = false;
  BatchLoader loader(uneven, options);
  loader.next();
  CHECK_THROWS_WITH_AS(loader.next(),
                       "number 5: 3 x 2 pixels after preprocessing, expected 2 x 2 as others of its batch",
                       Error);
}

TEST_CASE("a loader that is dropped stops at once") {
  Numbered data(60000);
  data.before = [](std::size_t) { std::this_thread::sleep_for(2ms); };
  LoaderOptions options = plain(30000);
  options.threads = 2;
  const auto start = Clock::now();
  {
    BatchLoader loader(data, options);
    while (data.calls < 4) std::this_thread::sleep_for(1ms);
  }
  CHECK(Clock::now() - start < 10s);  // a batch takes a minute
  {
    LoaderOptions waiting = plain(1);  // threads that wait for room, and one that never got a turn
    waiting.threads = 8;
    const BatchLoader loader(data, waiting);
  }
  CHECK(Clock::now() - start < 10s);
}

TEST_CASE("options out of range, and too little data") {
  const Numbered data(10);
  const auto wrong = [&](auto change) {
    LoaderOptions options = plain(4);
    change(options);
    CHECK_THROWS_AS(BatchLoader(data, options), UsageError);
  };
  wrong([](LoaderOptions& o) { o.batch = 0; });
  wrong([](LoaderOptions& o) { o.batch = 65536; });
  wrong([](LoaderOptions& o) { o.threads = 0; });
  wrong([](LoaderOptions& o) { o.threads = 257; });
  wrong([](LoaderOptions& o) { o.ahead = 0; });
  CHECK_THROWS_WITH_AS(BatchLoader(data, plain(11)), "numbered: 10 pictures, fewer than one batch of 11",
                       Error);
  CHECK_THROWS_WITH_AS(BatchLoader(Numbered(0), plain(1)), "numbered: no pictures", Error);
}

}  // namespace
}  // namespace retrace::data
