#include "attribution/measures/perturbation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/error.h"

namespace retrace::measures {
namespace {

struct Grid {
  int height, width, patch, rows, columns;
  Grid(int h, int w, int p)
      : height(h), width(w), patch(p), rows((h + p - 1) / p), columns((w + p - 1) / p) {}
  int count() const { return rows * columns; }
};

void check_patch(int patch) {
  if (patch < 1) throw UsageError(fmt::format("patches of {} pixels: expected 1 or more", patch));
}

// Copies one patch; returns its pixels.
int copy_patch(const Grid& g, int patch, const Picture& from, Picture& to) {
  const int x0 = patch % g.columns * g.patch, y0 = patch / g.columns * g.patch;
  const int x1 = std::min(g.width, x0 + g.patch), y1 = std::min(g.height, y0 + g.patch);
  for (int y = y0; y < y1; ++y)
    std::copy(from.pixel(x0, y), from.pixel(x0, y) + (x1 - x0) * 3, to.pixel(x0, y));
  return (x1 - x0) * (y1 - y0);
}

void check_order(const Grid& g, const std::vector<int>& order) {
  std::vector<bool> seen(std::size_t(g.count()), false);
  bool right = int(order.size()) == g.count();
  for (const int p : order) {
    right = right && p >= 0 && p < g.count() && !seen[std::size_t(p)];
    if (!right) break;
    seen[std::size_t(p)] = true;
  }
  if (!right) {
    throw Error(
        fmt::format("an order of {} patches: expected each of 0 to {} once", order.size(), g.count() - 1));
  }
}

// Hands pictures to `score` in batches and its answers to where they belong.
class Scorer {
 public:
  Scorer(const Score& score, std::size_t batch) : score_(score), batch_(batch) {}

  void add(const Picture& picture, double* answer) {
    pictures_.push_back(picture);
    answers_.push_back(answer);
    if (pictures_.size() == batch_) flush();
  }

  void flush() {
    if (pictures_.empty()) return;
    const std::vector<float> values = score_(pictures_);
    if (values.size() != pictures_.size()) {
      throw Error(fmt::format("{} scores for {} pictures", values.size(), pictures_.size()));
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i]))
        throw Error(fmt::format("the score of a changed picture is {}", values[i]));
      *answers_[i] = values[i];
    }
    pictures_.clear();
    answers_.clear();
  }

 private:
  const Score& score_;
  std::size_t batch_;
  std::vector<Picture> pictures_;
  std::vector<double*> answers_;
};

}  // namespace

std::vector<int> rank_patches(std::span<const float> map, int height, int width, int patch) {
  check_patch(patch);
  if (height <= 0 || width <= 0 || map.size() != std::size_t(height) * std::size_t(width)) {
    throw Error(fmt::format("a map of {} x {} (height, width) was announced, {} values were given", height,
                            width, map.size()));
  }
  const Grid g(height, width, patch);
  std::vector<double> sums(std::size_t(g.count()), 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      sums[std::size_t(y / patch * g.columns + x / patch)] +=
          map[std::size_t(y) * std::size_t(width) + std::size_t(x)];
    }
  }
  std::vector<int> order(sums.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return sums[std::size_t(a)] > sums[std::size_t(b)]; });
  return order;
}

Picture blurred(const Picture& picture, double sigma) {
  render::check_picture(picture);
  if (!(sigma > 0 && sigma < 1e4))
    throw UsageError(fmt::format("a blur of {} pixels: expected more than 0", sigma));
  const int reach = int(std::ceil(3 * sigma));
  std::vector<double> weights(std::size_t(reach) + 1);
  double total = 0;
  for (int d = 0; d <= reach; ++d) {
    weights[std::size_t(d)] = std::exp(-0.5 * d * d / (sigma * sigma));
    total += weights[std::size_t(d)] * (d ? 2 : 1);
  }
  const int w = picture.width, h = picture.height;
  // Along x, then along y.
  std::vector<double> rows(picture.rgb.size());
  Picture out{w, h, std::vector<std::uint8_t>(picture.rgb.size())};
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      double sum[3] = {};
      for (int d = -reach; d <= reach; ++d) {
        const std::uint8_t* const p = picture.pixel(std::clamp(x + d, 0, w - 1), y);
        for (int c = 0; c < 3; ++c) sum[c] += weights[std::size_t(std::abs(d))] * p[c];
      }
      for (int c = 0; c < 3; ++c)
        rows[(std::size_t(y) * std::size_t(w) + std::size_t(x)) * 3 + std::size_t(c)] = sum[c] / total;
    }
  }
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      double sum[3] = {};
      for (int d = -reach; d <= reach; ++d) {
        const std::size_t at =
            (std::size_t(std::clamp(y + d, 0, h - 1)) * std::size_t(w) + std::size_t(x)) * 3;
        for (std::size_t c = 0; c < 3; ++c) sum[c] += weights[std::size_t(std::abs(d))] * rows[at + c];
      }
      for (int c = 0; c < 3; ++c) out.pixel(x, y)[c] = std::uint8_t(std::lround(sum[c] / total));
    }
  }
  return out;
}

Picture filled(int width, int height, render::Rgb colour) {
  return render::blank(width, height, colour);
}

double trapezium(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) throw Error(fmt::format("a curve of {} x and {} y", x.size(), y.size()));
  double sum = 0;
  for (std::size_t i = 1; i < x.size(); ++i) sum += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
  return sum;
}

std::vector<Curves> deletion_insertion(const Picture& picture, const Picture& removed,
                                       std::span<const std::vector<int>> orders, const PerturbationOptions& o,
                                       const Score& score) {
  check_patch(o.patch);
  if (o.steps < 1) throw UsageError(fmt::format("{} steps: expected 1 or more", o.steps));
  if (o.batch < 1) throw UsageError(fmt::format("{} pictures at once: expected 1 or more", o.batch));
  render::check_picture(picture);
  render::check_picture(removed);
  if (picture.width != removed.width || picture.height != removed.height) {
    throw Error(fmt::format("a picture of {} x {} pixels with everything removed is {} x {}", picture.width,
                            picture.height, removed.width, removed.height));
  }
  const Grid g(picture.height, picture.width, o.patch);
  for (const auto& order : orders) check_order(g, order);
  const int steps = std::min(o.steps, g.count());
  const double pixels = double(picture.width) * picture.height;

  Scorer scorer(score, std::size_t(o.batch));
  double whole = 0, nothing = 0;
  scorer.add(picture, &whole);
  scorer.add(removed, &nothing);
  std::vector<Curves> result(orders.size());
  for (std::size_t k = 0; k < orders.size(); ++k) {
    Curves& curves = result[k];
    const std::size_t points = std::size_t(steps) + 1;
    curves.share.assign(points, 0);
    curves.deletion.assign(points, 0);
    curves.insertion.assign(points, 0);
    Picture deleted = picture, inserted = removed;
    int done = 0;
    std::int64_t moved = 0;
    for (int step = 1; step <= steps; ++step) {
      const int until = int(std::int64_t(step) * g.count() / steps);
      for (; done < until; ++done) {
        moved += copy_patch(g, orders[k][std::size_t(done)], removed, deleted);
        copy_patch(g, orders[k][std::size_t(done)], picture, inserted);
      }
      curves.share[std::size_t(step)] = double(moved) / pixels;
      if (step == steps) continue;
      scorer.add(deleted, &curves.deletion[std::size_t(step)]);
      scorer.add(inserted, &curves.insertion[std::size_t(step)]);
    }
  }
  scorer.flush();
  for (Curves& curves : result) {
    curves.deletion.front() = curves.insertion.back() = whole;
    curves.deletion.back() = curves.insertion.front() = nothing;
    curves.deletion_area = trapezium(curves.share, curves.deletion);
    curves.insertion_area = trapezium(curves.share, curves.insertion);
  }
  return result;
}

}  // namespace retrace::measures
