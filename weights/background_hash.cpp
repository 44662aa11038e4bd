#include "weights/background_hash.h"

#include <system_error>
#include <utility>

namespace retrace::weights {

BackgroundHash::BackgroundHash() {
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {  // no more threads
  }
}

BackgroundHash::~BackgroundHash() {
  stop();
}

void BackgroundHash::add(HostTensor tensor) {
  if (!thread_.joinable()) return add_content(hash_, tensor);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !waiting_; });
  waiting_ = std::move(tensor);
  changed_.notify_all();
}

std::string BackgroundHash::hex() {
  stop();
  return hash_.hex();
}

void BackgroundHash::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BackgroundHash::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return waiting_ || ended_; });
    if (!waiting_) return;
    const HostTensor tensor = *std::exchange(waiting_, std::nullopt);
    changed_.notify_all();
    lock.unlock();
    add_content(hash_, tensor);
    lock.lock();
  }
}

}  // namespace retrace::weights
