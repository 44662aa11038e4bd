// Where the relevance went: for every layer of one walk and every image, what entered, what left, and what did not
// pass on. The ledger is how a user knows that a map is an explanation and not noise.
#pragma once
#include <string>
#include <vector>

#include "engine/walk.h"
#include "kernels/ops/relevance.h"

namespace retrace {

// One image's relevance at one layer; entering = leaving + absorbed_bias + absorbed_epsilon + dropped, to rounding.
struct LedgerEntry {
  double entering = 0;
  double flow = 0;  // Σ |R| of what entered: how much cancels. 0 for layers that only pass
  double leaving = 0;
  double absorbed_bias = 0;     // kept by biases
  double absorbed_epsilon = 0;  // lost to the stabilizer
  double dropped = 0;           // at zero denominators: units alive only through their bias
};

struct LedgerRow {
  std::string layer, rule;
  std::vector<LedgerEntry> images;
};

struct LedgerTotals {
  double start = 0, arrived = 0, absorbed_bias = 0, absorbed_epsilon = 0, dropped = 0;
  double largest_flow = 0;  // of any layer
  std::string largest_flow_layer;
  // (start − arrived − the three losses) / the largest flow, for rounding is in proportion to what flows: anything
  // beyond rounding is a defect.
  double unexplained = 0;
};

struct Ledger {
  std::vector<LedgerRow> rows;  // from the output to the input
  std::vector<double> arrived;  // per image, at the network's input
  LedgerTotals totals(std::size_t image) const;
};

// Collects a ledger while a walk runs: sums are made on the device and fetched once, at the end.
class LedgerKeeper {
 public:
  void begin(const Walk& walk);
  // Starts the row of a layer; what follows belongs to it.
  void row(const Walk& walk, NodeId id, std::string rule);
  // Entering relevance as signal · value, for layers without a gate.
  void entering(const Walk& walk, NodeId id, const Tensor& signal);
  // Where a gate's sums for this row go (a further gate of the same row counts only its losses).
  kernels::GateSums* gate_sums(const Walk& walk, long long count);
  void gate_done(const Walk& walk, long long count);
  // Call before and after each contribution to `to`.
  void before(const Walk& walk, NodeId to);
  void after(const Walk& walk, NodeId to);
  // Fetches the sums. `input` is where the relevance arrived.
  Ledger finish(NodeId input);

 private:
  struct Source {
    std::string layer, rule;
    int entering_dot = -1;
    std::vector<int> gates, plus, minus;
  };
  int dot(const Walk& walk, const Tensor& a, const Tensor* b);
  static bool is_relevance(const Walk& walk, NodeId id) { return walk.node(id).op == Op::input; }

  int images_ = 0;
  Tensor dots_, gates_, partial_;
  int next_dot_ = 0, next_gate_ = 0;
  std::vector<int> last_dot_;  // per node: the dot of what it has now, −1 for nothing
  std::vector<Source> rows_;
};

}  // namespace retrace
