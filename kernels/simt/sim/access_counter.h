// Counts bank conflicts and memory sectors (SimOptions::count_accesses).
//
// A warp's lanes run one after another here, so what the hardware does in one instruction must be put
// together again: the k-th time that lane a comes to a place since the last barrier belongs with the k-th
// time of lane b. Exact for lanes that take the same branches.
#pragma once
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "kernels/simt/sim/call_site.h"

namespace retrace::simt {

class AccessCounter {
 public:
  void begin_launch(const char* kernel) { kernel_ = kernel; }
  void count(unsigned thread, std::uintptr_t address, std::size_t bytes, bool shared, bool write,
             CallSite at);
  // Evaluates what has been collected: at each barrier and at the end of a block.
  void flush();
  void forget() {
    requests_.clear();
    visits_.clear();
  }

 private:
  struct Place {
    CallSite at;
    bool shared, write;
    auto operator<=>(const Place&) const = default;
  };
  struct Request {
    std::uint32_t place, bytes;
    std::vector<std::uintptr_t> addresses;
  };

  const char* kernel_ = nullptr;
  std::map<Place, std::uint32_t> places_;
  std::vector<Place> place_of_;
  std::unordered_map<std::uint64_t, std::uint32_t> visits_;  // (thread, place) → times
  std::unordered_map<std::uint64_t, Request> requests_;      // (warp, place, time) →
};

// Passes over 32 banks of 4 bytes for one warp's addresses; 8-byte accesses go by half warps and 16-byte ones
// by quarters. The ideal: as many passes as the distinct words fill.
struct AccessCost {
  std::uint64_t transactions = 0, ideal = 0;
};
AccessCost bank_passes(const std::vector<std::uintptr_t>& addresses, std::size_t bytes);
// 32-byte sectors.
AccessCost sectors(const std::vector<std::uintptr_t>& addresses, std::size_t bytes);

}  // namespace retrace::simt
