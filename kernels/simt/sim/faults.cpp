// What the executor says when a kernel goes wrong.
#include <cstdio>
#include <cstring>

#include "kernels/simt/sim/executor.h"

namespace retrace::simt {

// Cuts the kernel out of Launcher's signature as g++ and clang print it: "… [with auto Kernel = NAME]".
std::string kernel_name(const char* signature) {
  const std::string text = signature;
  const auto begin = text.find("Kernel = ");
  if (begin == std::string::npos) return text;
  std::string name = text.substr(begin + 9, text.rfind(']') - begin - 9);
  if (const auto extra = name.find("; "); extra != std::string::npos) name.resize(extra);
  if (name.starts_with('&')) name.erase(0, 1);
  return name;
}

std::string triple(const uint3& v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

namespace {

std::string hexadecimal(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

}  // namespace

std::string BlockExecutor::thread_name(unsigned thread) const {
  return "thread " + triple(index_[thread]);
}

std::string BlockExecutor::describe(unsigned thread, const std::string& place,
                                    const std::string& what) const {
  return "kernel " + kernel_name(launch_->kernel) + ", block " + triple(block_) + ", " + thread_name(thread) +
         " at " + place + ": " + what;
}

void BlockExecutor::describe_running(char* text, std::size_t bytes) const {
  const char* name = std::strstr(launch_->kernel, "Kernel = ");
  name = name ? name + 9 : launch_->kernel;
  const char* const end = std::strpbrk(name, ";]");
  const uint3 thread = index_[running_];
  std::snprintf(text, bytes, "kernel %.*s, block (%u,%u,%u), thread (%u,%u,%u)",
                int(end ? std::size_t(end - name) : std::strlen(name)), name, block_.x, block_.y, block_.z,
                thread.x, thread.y, thread.z);
}

std::string BlockExecutor::whereabouts(unsigned thread) const {
  const Thread& t = threads_[thread];
  switch (t.state) {
    case State::done:
      return "has exited";
    case State::at_barrier:
      return "waits at the barrier at " + CallSite(t.at).place();
    case State::at_collective:
      return "waits in the warp collective of mask " + hexadecimal(t.mask) + " at " + CallSite(t.at).place();
    case State::fresh:
    case State::running:
      break;
  }
  return "is running";
}

// Nobody can go on. Somebody in a collective is told first: those at a barrier may be waiting for him.
std::string BlockExecutor::stuck_message() const {
  for (unsigned t : order_) {
    if (threads_[t].state != State::at_collective) continue;
    const unsigned mask = threads_[t].mask;
    std::string lanes;
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned other = t / 32 * 32 + lane;
      const bool waits_for_us =
          other < size_ && threads_[other].state == State::at_collective && threads_[other].mask == mask;
      if (!(mask >> lane & 1) || waits_for_us) continue;
      if (!lanes.empty()) lanes += "; ";
      lanes += "lane ";
      lanes += std::to_string(lane);
      if (other < size_) {
        lanes += " (";
        lanes += thread_name(other);
        lanes += ") ";
        lanes += whereabouts(other);
      } else {
        lanes += " does not exist";
      }
      if (lanes.size() > 300) {
        lanes += "; …";
        break;
      }
    }
    return describe(t, CallSite(threads_[t].at).place(),
                    "waits in a warp collective of mask " + hexadecimal(mask) +
                        " for lanes that are elsewhere: " + lanes);
  }
  unsigned waits = 0, missing = 0;
  bool found = false;
  for (unsigned t : order_) {
    if (threads_[t].state == State::at_barrier) waits = t;
    if (threads_[t].state == State::done && !found) {
      missing = t;
      found = true;
    }
  }
  const unsigned exited = unsigned(done_);
  return describe(waits, CallSite(threads_[waits].at).place(),
                  "waits at a barrier that " + thread_name(missing) +
                      (exited > 1 ? " and " + std::to_string(exited - 1) + " more" : std::string()) +
                      " will not reach: " + (exited > 1 ? "they have exited" : "it has exited"));
}

std::string BlockExecutor::other_barrier_message(const std::source_location& at) const {
  for (unsigned t : order_) {
    if (threads_[t].state != State::at_barrier) continue;
    return describe(running_, CallSite(at).place(),
                    "comes to another barrier than " + thread_name(t) + ", which waits at " +
                        CallSite(threads_[t].at).place());
  }
  return {};
}

std::string BlockExecutor::other_collective_message(unsigned thread, unsigned other) const {
  const Thread &self = threads_[thread], &peer = threads_[other];
  return describe(thread, CallSite(self.at).place(),
                  "comes to another warp collective than lane " + std::to_string(other % 32) + " (" +
                      thread_name(other) + "), which waits at " + CallSite(peer.at).place());
}

}  // namespace retrace::simt
