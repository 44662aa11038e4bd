// Batches of prepared pictures, made ahead by threads of their own.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "tools/data/augment.h"
#include "tools/data/dataset.h"
#include "tools/image/preprocess.h"

namespace retrace::data {

struct Batch {
  int n = 0, height = 0, width = 0, classes = 0;
  std::vector<std::uint8_t> pixels;  // [n, height, width, 3]
  std::vector<float> targets;        // [n, classes], see Dataset::target
  std::vector<int> labels;           // [n]
  std::vector<std::size_t> indices;  // [n], in the data set
  std::size_t epoch = 0, step = 0;   // steps count on across epochs
  bool last_of_epoch = false;
};

struct LoaderOptions {
  int batch = 64;
  image::Preprocessing input;  // resizing and cropping; mean and std are not applied
  Augmentation augmentation;
  // Training: epoch after epoch, each in an order of its own, without the incomplete batch at its end. Off: one pass in
  // order, with it.
  bool shuffle = true;
  std::uint64_t seed = 1;  // of order and augmentation
  std::size_t first_step = 0;
  int threads = 1;
  int ahead = 4;  // batches that are ready or being made, at most (at least one per thread)
};

// Batch `step` is a function of the data, the options but the last three, and `step`: a loader that starts at step S
// delivers exactly what one that started at 0 would have, whatever the number of threads.
class BatchLoader {
 public:
  // The data set must outlive the loader. UsageError for options out of range, Error where the data holds less than one
  // batch.
  BatchLoader(const Dataset& data, const LoaderOptions& options);
  // Stops the threads; waits for no more than the samples they are at.
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  // The next batch, waiting for it if need be; nothing after the end of a pass without shuffling. What went wrong while
  // it was made is thrown here, and again at every later call. Not from several threads at once.
  std::optional<Batch> next();

  std::size_t steps_per_epoch() const { return steps_per_epoch_; }

 private:
  using Order = std::shared_ptr<const std::vector<std::uint32_t>>;
  struct Outcome {
    Batch batch;
    std::exception_ptr failure;
  };

  void work(std::stop_token stop);
  Batch make(std::size_t step, const std::stop_token& stop);
  Order order(std::size_t epoch);

  const Dataset& data_;
  const LoaderOptions options_;
  std::size_t steps_per_epoch_ = 0, end_ = 0, most_ahead_ = 0;

  std::mutex mutex_;
  std::condition_variable_any claimable_, ready_;
  std::size_t next_claim_ = 0, next_delivery_ = 0;
  std::map<std::size_t, Outcome> outcomes_;

  std::mutex order_mutex_;
  std::map<std::size_t, Order> orders_;  // of the latest two epochs

  std::vector<std::jthread> threads_;  // last: they end before what they use
};

}  // namespace retrace::data
