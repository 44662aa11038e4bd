#include "attribution/ledger.h"

#include <algorithm>
#include <cmath>

namespace retrace {

using namespace kernels;

namespace {

constexpr std::int64_t sums_doubles = sizeof(GateSums) / sizeof(double);

}  // namespace

LedgerTotals Ledger::totals(std::size_t image) const {
  LedgerTotals sum;
  if (rows.empty()) return sum;
  sum.start = rows.front().images.at(image).entering;
  sum.arrived = arrived.at(image);
  for (const LedgerRow& row : rows) {
    const LedgerEntry& e = row.images.at(image);
    sum.absorbed_bias += e.absorbed_bias;
    sum.absorbed_epsilon += e.absorbed_epsilon;
    sum.dropped += e.dropped;
    if (e.flow > sum.largest_flow || !std::isfinite(e.flow)) {
      sum.largest_flow = e.flow;
      sum.largest_flow_layer = row.layer;
    }
  }
  const double open = sum.start - sum.arrived - sum.absorbed_bias - sum.absorbed_epsilon - sum.dropped;
  const double scale = std::max(std::abs(sum.start), sum.largest_flow);
  sum.unexplained = scale > 0 ? open / scale : open;
  return sum;
}

void LedgerKeeper::begin(const Walk& walk) {
  const int nodes = walk.tape().size();
  images_ = int(walk.node(0).value.dim(0));
  // At most one entering dot a row, and a contribution an input, each with one new dot; two gates a row.
  int inputs = 0;
  for (NodeId id = 0; id < nodes; ++id) walk.node(id).each_input([&](NodeId) { ++inputs; });
  dots_ = Tensor(walk.device(), {nodes + inputs + 4, images_}, ElementType::f64);
  gates_ = Tensor(walk.device(), {2 * nodes + 2, images_, sums_doubles}, ElementType::f64);
  next_dot_ = next_gate_ = 0;
  last_dot_.assign(std::size_t(nodes), -1);
  rows_.clear();
}

void LedgerKeeper::row(const Walk& walk, NodeId id, std::string rule) {
  rows_.push_back({walk.node(id).name, std::move(rule), -1, {}, {}, {}});
}

int LedgerKeeper::dot(const Walk& walk, const Tensor& a, const Tensor* b) {
  if (next_dot_ >= dots_.dim(0)) throw Error("ledger: more contributions than a tape's nodes can make");
  walk.device().kernels().reduce_dot({images_, a.size() / images_, a.data(), b ? b->data() : nullptr,
                                      dots_.data<double>() + std::int64_t(next_dot_) * images_},
                                     walk.device().stream());
  return next_dot_++;
}

void LedgerKeeper::entering(const Walk& walk, NodeId id, const Tensor& signal) {
  rows_.back().entering_dot = dot(walk, signal, &walk.node(id).value);
}

GateSums* LedgerKeeper::gate_sums(const Walk& walk, long long count) {
  partial_ = Tensor(walk.device(), {images_, gate_blocks(count), sums_doubles}, ElementType::f64);
  return reinterpret_cast<GateSums*>(partial_.data<double>());
}

void LedgerKeeper::gate_done(const Walk& walk, long long count) {
  if (next_gate_ >= gates_.dim(0)) throw Error("ledger: more gates than a tape's nodes can make");
  walk.device().kernels().relevance_sums(
      {images_, gate_blocks(count), reinterpret_cast<const GateSums*>(partial_.data<double>()),
       reinterpret_cast<GateSums*>(gates_.data<double>() +
                                   std::int64_t(next_gate_) * images_ * sums_doubles)},
      walk.device().stream());
  rows_.back().gates.push_back(next_gate_++);
}

void LedgerKeeper::before(const Walk&, NodeId to) {
  if (const int old = last_dot_[std::size_t(to)]; old >= 0) rows_.back().minus.push_back(old);
}

void LedgerKeeper::after(const Walk& walk, NodeId to) {
  const int now = dot(walk, walk.signal(to), is_relevance(walk, to) ? nullptr : &walk.node(to).value);
  rows_.back().plus.push_back(now);
  last_dot_[std::size_t(to)] = now;
}

Ledger LedgerKeeper::finish(NodeId input) {
  const std::vector<double> dots = dots_.to_host<double>(), gates = gates_.to_host<double>();
  const auto dot_of = [&](int row, int image) { return dots[std::size_t(row * images_ + image)]; };
  Ledger ledger;
  for (int i = 0; i < images_; ++i) {
    const int last = last_dot_[std::size_t(input)];
    ledger.arrived.push_back(last < 0 ? 0 : dot_of(last, i));
  }
  for (const Source& source : rows_) {
    LedgerRow row{source.layer, source.rule, std::vector<LedgerEntry>(std::size_t(images_))};
    for (int i = 0; i < images_; ++i) {
      LedgerEntry& entry = row.images[std::size_t(i)];
      if (source.entering_dot >= 0) entry.entering = dot_of(source.entering_dot, i);
      for (std::size_t g = 0; g < source.gates.size(); ++g) {
        const double* sums = gates.data() + (std::int64_t(source.gates[g]) * images_ + i) * sums_doubles;
        if (g == 0 && source.entering_dot < 0) entry.entering = sums[0];
        entry.flow = std::max(entry.flow, sums[1]);
        entry.absorbed_bias += sums[2];
        entry.absorbed_epsilon += sums[3];
        entry.dropped += sums[4];
      }
      for (const int plus : source.plus) entry.leaving += dot_of(plus, i);
      for (const int minus : source.minus) entry.leaving -= dot_of(minus, i);
    }
    ledger.rows.push_back(std::move(row));
  }
  return ledger;
}

}  // namespace retrace
