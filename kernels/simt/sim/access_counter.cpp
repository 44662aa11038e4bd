#include "kernels/simt/sim/access_counter.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <set>

#include "kernels/simt/sim/executor.h"

namespace retrace::simt {
namespace {

constexpr std::uintptr_t bank_bytes = 4, banks = 32, sector_bytes = 32;

// What `bytes` from each address touch, in units of `unit` bytes, each once.
std::vector<std::uintptr_t> units(const std::uintptr_t* addresses, std::size_t count, std::size_t bytes,
                                  std::uintptr_t unit) {
  std::vector<std::uintptr_t> touched;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::uintptr_t u = addresses[i] / unit; u <= (addresses[i] + bytes - 1) / unit; ++u)
      touched.push_back(u);
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  return touched;
}

struct Total {
  std::uint64_t requests = 0, transactions = 0, ideal = 0;
};
struct TotalKey {
  const char* kernel;
  CallSite at;
  bool shared, write;
  auto operator<=>(const TotalKey&) const = default;
};
std::mutex totals_mutex;
std::map<TotalKey, Total>& totals() {
  static auto* const instance = new std::map<TotalKey, Total>;
  return *instance;
}

}  // namespace

AccessCost bank_passes(const std::vector<std::uintptr_t>& addresses, std::size_t bytes) {
  const std::size_t lanes_together = bytes >= 16 ? 8 : bytes >= 8 ? 16 : 32;
  AccessCost cost;
  for (std::size_t first = 0; first < addresses.size(); first += lanes_together) {
    const std::size_t count = std::min(lanes_together, addresses.size() - first);
    const auto words = units(&addresses[first], count, bytes, bank_bytes);
    std::array<std::uint64_t, banks> per_bank{};
    for (const auto word : words) ++per_bank[word % banks];
    cost.transactions += *std::max_element(per_bank.begin(), per_bank.end());
    cost.ideal += (words.size() + banks - 1) / banks;
  }
  return cost;
}

AccessCost sectors(const std::vector<std::uintptr_t>& addresses, std::size_t bytes) {
  const auto touched = units(addresses.data(), addresses.size(), bytes, sector_bytes);
  const auto distinct = units(addresses.data(), addresses.size(), bytes, 1);
  return {touched.size(), (distinct.size() + sector_bytes - 1) / sector_bytes};
}

void AccessCounter::count(unsigned thread, std::uintptr_t address, std::size_t bytes, bool shared, bool write,
                          CallSite at) {
  const Place place{at, shared, write};
  const auto [known, is_new] = places_.try_emplace(place, std::uint32_t(place_of_.size()));
  if (is_new) place_of_.push_back(place);
  const std::uint32_t p = known->second;
  const std::uint64_t time = visits_[std::uint64_t(thread) << 32 | p]++;
  // 5 bits of warp, 23 of place, 36 of time: far more than memory would hold.
  Request& request = requests_[std::uint64_t(thread / 32) << 59 | std::uint64_t(p) << 36 | time];
  request.place = p;
  request.bytes = std::uint32_t(bytes);
  request.addresses.push_back(address);
}

void AccessCounter::flush() {
  if (requests_.empty()) return;
  std::map<std::uint32_t, Total> sums;
  for (const auto& [key, request] : requests_) {
    const AccessCost cost = place_of_[request.place].shared ? bank_passes(request.addresses, request.bytes)
                                                            : sectors(request.addresses, request.bytes);
    Total& sum = sums[request.place];
    ++sum.requests;
    sum.transactions += cost.transactions;
    sum.ideal += cost.ideal;
  }
  forget();
  const std::lock_guard lock(totals_mutex);
  for (const auto& [place, sum] : sums) {
    const Place& where = place_of_[place];
    Total& total = totals()[{kernel_, where.at, where.shared, where.write}];
    total.requests += sum.requests;
    total.transactions += sum.transactions;
    total.ideal += sum.ideal;
  }
}

std::vector<AccessSite> access_report() {
  std::vector<AccessSite> report;
  {
    const std::lock_guard lock(totals_mutex);
    for (const auto& [key, total] : totals()) {
      report.push_back({kernel_name(key.kernel), key.at.place(), key.shared, key.write, total.requests,
                        total.transactions, total.ideal});
    }
  }
  // Several loads of one line have several return addresses.
  std::sort(report.begin(), report.end(), [](const AccessSite& a, const AccessSite& b) {
    return std::tie(a.kernel, a.place, a.shared, a.write) < std::tie(b.kernel, b.place, b.shared, b.write);
  });
  std::vector<AccessSite> merged;
  for (const auto& site : report) {
    if (!merged.empty() && merged.back().kernel == site.kernel && merged.back().place == site.place &&
        merged.back().shared == site.shared && merged.back().write == site.write) {
      merged.back().requests += site.requests;
      merged.back().transactions += site.transactions;
      merged.back().ideal += site.ideal;
    } else {
      merged.push_back(site);
    }
  }
  std::stable_sort(merged.begin(), merged.end(), [](const AccessSite& a, const AccessSite& b) {
    return a.transactions - a.ideal > b.transactions - b.ideal;
  });
  return merged;
}

void reset_access_report() {
  const std::lock_guard lock(totals_mutex);
  totals().clear();
}

}  // namespace retrace::simt
