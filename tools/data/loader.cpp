#include "tools/data/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/error.h"
#include "tools/data/random.h"

namespace retrace::data {

namespace {

void check_range(const char* what, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most)
    throw UsageError(fmt::format("loader: {} = {}, expected {} to {}", what, value, least, most));
}

}  // namespace

BatchLoader::BatchLoader(const Dataset& data, const LoaderOptions& options) : data_(data), options_(options) {
  check_range("batch", options.batch, 1, 65535);
  check_range("threads", options.threads, 1, 256);
  check_range("ahead", options.ahead, 1, 1024);
  const std::size_t size = data.size(), batch = std::size_t(options.batch);
  if (size == 0) throw Error(data.spec() + ": no pictures");
  if (size > std::numeric_limits<std::uint32_t>::max())
    throw Error(fmt::format("{}: {} pictures, expected at most 2^32 - 1", data.spec(), size));
  if (options.shuffle && size < batch)
    throw Error(fmt::format("{}: {} pictures, fewer than one batch of {}", data.spec(), size, batch));
  steps_per_epoch_ = options.shuffle ? size / batch : (size + batch - 1) / batch;
  end_ = options.shuffle ? std::numeric_limits<std::size_t>::max() : steps_per_epoch_;
  most_ahead_ = std::size_t(std::max(options.ahead, options.threads));
  next_claim_ = next_delivery_ = options.first_step;
  for (int i = 0; i < options.threads; ++i)
    threads_.emplace_back([this](std::stop_token stop) { work(std::move(stop)); });
}

BatchLoader::~BatchLoader() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

std::optional<Batch> BatchLoader::next() {
  std::unique_lock lock(mutex_);
  if (next_delivery_ >= end_) return std::nullopt;
  ready_.wait(lock, [&] { return outcomes_.contains(next_delivery_); });
  const auto found = outcomes_.find(next_delivery_);
  if (found->second.failure) std::rethrow_exception(found->second.failure);
  Batch batch = std::move(found->second.batch);
  outcomes_.erase(found);
  ++next_delivery_;
  lock.unlock();
  claimable_.notify_all();
  return batch;
}

void BatchLoader::work(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (claimable_.wait(lock, stop,
                         [&] { return next_claim_ < end_ && next_claim_ - next_delivery_ < most_ahead_; })) {
    if (stop.stop_requested()) return;
    const std::size_t step = next_claim_++;
    lock.unlock();
    Outcome outcome;
    try {
      outcome.batch = make(step, stop);
    } catch (...) {
      outcome.failure = std::current_exception();
    }
    lock.lock();
    outcomes_.emplace(step, std::move(outcome));
    ready_.notify_all();
  }
}

// Fisher and Yates' shuffle, a function of (seed, epoch).
BatchLoader::Order BatchLoader::order(std::size_t epoch) {
  const std::lock_guard lock(order_mutex_);
  Order& cached = orders_[epoch];
  if (!cached) {
    auto permutation = std::make_shared<std::vector<std::uint32_t>>(data_.size());
    std::iota(permutation->begin(), permutation->end(), 0u);
    Random random(options_.seed, Purpose::order, epoch);
    for (std::size_t i = permutation->size() - 1; i > 0; --i)
      std::swap((*permutation)[i], (*permutation)[random.below(std::uint32_t(i) + 1)]);
    cached = permutation;
  }
  const Order result = cached;
  // A slower thread may still be in the epoch before; one that was dropped is made again.
  while (orders_.size() > 2) orders_.erase(orders_.begin());
  return result;
}

Batch BatchLoader::make(std::size_t step, const std::stop_token& stop) {
  Batch batch;
  batch.step = step;
  batch.epoch = step / steps_per_epoch_;
  const std::size_t within = step % steps_per_epoch_;
  batch.last_of_epoch = within + 1 == steps_per_epoch_;
  batch.classes = int(data_.labels().size());
  const Order permutation = options_.shuffle ? order(batch.epoch) : nullptr;
  const std::size_t first = within * std::size_t(options_.batch);
  const std::size_t last = std::min(first + std::size_t(options_.batch), data_.size());
  for (std::size_t position = first; position < last; ++position) {
    if (stop.stop_requested()) break;  // nobody will ask for this batch
    const std::size_t index = permutation ? (*permutation)[position] : position;
    const Sample sample = data_.sample(index);
    Picture picture = image::prepare(sample.picture, options_.input);
    if (options_.augmentation != Augmentation{})
      picture = augment(picture, options_.augmentation, options_.seed, batch.epoch, index);
    if (batch.n == 0) {
      batch.height = picture.height, batch.width = picture.width;
      batch.pixels.reserve(picture.rgb.size() * (last - first));
    } else if (picture.height != batch.height || picture.width != batch.width) {
      throw Error(
          fmt::format("{}: {} x {} pixels after preprocessing, expected {} x {} as others of its batch",
                      sample.name, picture.width, picture.height, batch.width, batch.height));
    }
    batch.pixels.insert(batch.pixels.end(), picture.rgb.begin(), picture.rgb.end());
    const std::vector<float> target = data_.target(sample);
    batch.targets.insert(batch.targets.end(), target.begin(), target.end());
    batch.labels.push_back(sample.label);
    batch.indices.push_back(index);
    ++batch.n;
  }
  return batch;
}

}  // namespace retrace::data
