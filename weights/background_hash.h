// The hash of contents (sha256.h), made in a second thread while the first one reads on or writes.
#pragma once
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "weights/host_tensor.h"
#include "weights/sha256.h"

namespace retrace::weights {

class BackgroundHash {
 public:
  // Where the system gives no thread, everything is done in add().
  BackgroundHash();
  ~BackgroundHash();
  BackgroundHash(const BackgroundHash&) = delete;
  BackgroundHash& operator=(const BackgroundHash&) = delete;

  // Holds on to the tensor's bytes until they are hashed. At most one tensor waits while another is hashed: a third
  // waits here, so that tensors made one by one do not pile up in memory.
  void add(HostTensor tensor);
  // content_sha256() of what was added, in that order. Call it once, last.
  std::string hex();

 private:
  void run();
  void stop();

  Sha256 hash_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<HostTensor> waiting_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace retrace::weights
