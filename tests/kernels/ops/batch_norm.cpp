#include "tests/reference/batch_norm.h"

#include "tests/kernels/ops/support.h"

using namespace retrace;
using namespace retrace::test;
using reference::Values;

namespace {

// Slices of the sums begin at 513 pixels; blocks of 4 pixels and 32 pixels have tails; channels below, at and above
// the 4 and 8 of a thread and the 32 of a block, by 4 and not.
const int pixel_counts[] = {2, 3, 7, 513, 1025, 5000};
const int channel_counts[] = {1, 3, 4, 5, 8, 12, 16, 33, 64};
constexpr float epsilon = 1e-5f, momentum = 0.1f;
constexpr double unit = 1.0 / (1 << 24);  // half a unit in the last place, of 1

Values wide(const Floats& values) {
  return {values.begin(), values.end()};
}
Floats narrow(const Values& values) {
  Floats out;
  for (const double v : values) out.push_back(float(v));
  return out;
}
Floats shifted(Floats values, int offset) {
  if (!values.empty()) values.insert(values.begin(), std::size_t(offset), 0.0f);
  return values;
}

// Each value has its own bound.
void check_bounded(const Floats& got, const Values& want, const Values& bound) {
  REQUIRE(got.size() == want.size());
  REQUIRE(got.size() == bound.size());
  Values off(got.size());
  for (std::size_t i = 0; i < got.size(); ++i) off[i] = (double(got[i]) - want[i]) / bound[i];
  const Comparison c = compare(off, Values(off.size(), 0));
  CHECK_MESSAGE(c.max_abs <= 1, "at ", c.worst, ": got ", got[c.worst], ", want ", want[c.worst], " within ",
                bound[c.worst]);
}

// A layer's operands; an empty residual is left out.
struct Layer {
  int pixels, c;
  Floats x, weight, bias, residual, running_mean, running_var;
  bool relu = false;
};
Layer random_layer(int pixels, int c, bool residual, bool relu, float low = -1, float high = 1) {
  const long long count = 1LL * pixels * c;
  Layer l{pixels,
          c,
          random_floats(count, 1, low, high),
          random_floats(c, 2, 0.5f, 1.5f),
          random_floats(c, 3),
          residual ? random_floats(count, 4) : Floats(),
          random_floats(c, 5),
          random_floats(c, 6, 0.5f, 2),
          relu};
  for (std::size_t i = 1; i < l.weight.size(); i += 2) l.weight[i] *= -1;
  return l;
}

struct Forward {
  Floats y, mean, inverse_std, running_mean, running_var;
  Bytes mask;
};
// `offset` floats behind a 16-byte boundary.
Forward forward(const Layer& l, bool in_place = false, int offset = 0, float momentum_given = momentum) {
  const long long count = 1LL * l.pixels * l.c;
  const Input<float> x(shifted(l.x, offset)), weight(l.weight), bias(l.bias),
      residual(shifted(l.residual, offset));
  const Input<float> running_mean(l.running_mean), running_var(l.running_var);
  const Output<float> y(count + offset), mean(l.c), inverse_std(l.c);
  const Output<std::uint8_t> mask(1LL * l.pixels * kernels::mask_pitch(l.c));
  const Output<float> workspace(kernels::batch_norm_workspace(l.pixels, l.c));
  kernels::BatchNormFprop a;
  a.pixels = l.pixels;
  a.c = l.c;
  a.x = x + offset;
  a.weight = weight;
  a.bias = bias;
  a.epsilon = epsilon;
  a.momentum = momentum_given;
  a.residual = l.residual.empty() ? nullptr : residual + offset;
  a.relu = l.relu;
  a.running_mean = running_mean;
  a.running_var = running_var;
  a.mean = mean;
  a.inverse_std = inverse_std;
  a.y = in_place ? residual + offset : y + offset;
  if (l.relu) a.relu_mask = mask;
  a.workspace = workspace;
  table().batch_norm_fprop(a, stream());
  Floats out = in_place ? residual.to_host() : y.to_host();
  out.erase(out.begin(), out.begin() + offset);
  return {out,
          mean.to_host(),
          inverse_std.to_host(),
          running_mean.to_host(),
          running_var.to_host(),
          l.relu ? mask.to_host() : Bytes()};
}
Floats joined(std::initializer_list<Floats> parts) {
  Floats all;
  for (const Floats& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
// Every result of the layer, in every order of threads; the batch cannot be cut.
Forward forward_in_every_order(const Layer& l, bool in_place) {
  Forward got;
  run_all_ways(1, [&](int, int) {
    got = forward(l, in_place);
    return Results{.y = joined({got.y, got.mean, got.inverse_std, got.running_mean, got.running_var}),
                   .mask = got.mask};
  });
  return got;
}

void check_forward(const Layer& l, const Forward& got) {
  const auto c = std::size_t(l.c);
  const double n = l.pixels;
  const reference::BatchStatistics s = reference::batch_statistics(c, wide(l.x), double(epsilon));
  Values mean_bound(c), inverse_bound(c), running_mean(c), running_var(c), mean_step(c), var_step(c);
  for (std::size_t i = 0; i < c; ++i) {
    const double keep = 1 - double(momentum), rate = double(momentum), unbiased = s.variance[i] * n / (n - 1);
    // Sums are kept in double: nothing but the rounding of the result.
    mean_bound[i] = unit * std::abs(s.mean[i]) * 1.001 + 1e-12;
    inverse_bound[i] = unit * s.inverse_std[i] * 1.001 + 1e-12;
    running_mean[i] = keep * double(l.running_mean[i]) + rate * s.mean[i];
    running_var[i] = keep * double(l.running_var[i]) + rate * unbiased;
    // Two products and a sum of rounded factors.
    mean_step[i] = 4 * unit * (std::abs(double(l.running_mean[i])) + std::abs(s.mean[i]));
    var_step[i] = 4 * unit * (double(l.running_var[i]) + unbiased);
  }
  check_bounded(got.mean, s.mean, mean_bound);
  check_bounded(got.inverse_std, s.inverse_std, inverse_bound);
  if (!l.running_mean.empty()) {
    check_bounded(got.running_mean, running_mean, mean_step);
    check_bounded(got.running_var, running_var, var_step);
  }
  Values want = reference::batch_norm(wide(l.x), wide(l.weight), wide(l.bias), double(epsilon));
  Values bound(want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    const std::size_t k = i % c;
    const double slope = s.inverse_std[k] * std::abs(double(l.weight[k])), bias = double(l.bias[k]);
    const double residual = l.residual.empty() ? 0 : double(l.residual[i]);
    // The mean is off by `unit` of itself, which the slope magnifies; x − mean and the product by the slope (itself
    // rounded twice) and the sums are each rounded once.
    bound[i] = unit * (std::abs(s.mean[k]) * slope + 6 * std::abs(want[i] - bias) + 3 * std::abs(bias) +
                       2 * std::abs(residual));
    want[i] += residual;
  }
  if (l.relu) reference::relu(want);
  check_bounded(got.y, want, bound);
  if (l.relu) CHECK_SAME_BITS(got.mask, reference::mask_of(wide(got.y), c));
}

struct Backward {
  Floats dx, dweight, dbias;
};
struct BackwardRun {
  Floats dy, pending, dweight_before, dbias_before;  // empty: left out
  Bytes mask;
  bool in_place = false, want_dx = true;
};
Backward backward(const Layer& l, const BackwardRun& run, int offset = 0) {
  const reference::BatchStatistics s =
      reference::batch_statistics(std::size_t(l.c), wide(l.x), double(epsilon));
  const Input<float> x(shifted(l.x, offset)), dy(shifted(run.dy, offset)), weight(l.weight);
  const Input<float> mean(narrow(s.mean)), inverse_std(narrow(s.inverse_std));
  const Input<float> pending(shifted(run.pending, offset)), dweight_sum(run.dweight_before),
      dbias_sum(run.dbias_before);
  const Input<std::uint8_t> mask(run.mask);
  const Output<float> dx(1LL * l.pixels * l.c + offset), dweight(l.c), dbias(l.c);
  const Output<float> workspace(kernels::batch_norm_workspace(l.pixels, l.c));
  kernels::BatchNormBackward a;
  a.pixels = l.pixels;
  a.c = l.c;
  a.x = x + offset;
  a.dy = dy + offset;
  a.weight = weight;
  a.mean = mean;
  a.inverse_std = inverse_std;
  a.accumulate = !run.dweight_before.empty();
  a.dweight = a.accumulate ? dweight_sum : static_cast<float*>(dweight);
  a.dbias = a.accumulate ? dbias_sum : static_cast<float*>(dbias);
  a.epilogue.pending = run.pending.empty() ? nullptr : pending + offset;
  a.epilogue.mask = mask;
  if (run.want_dx) a.dx = run.in_place ? dy + offset : dx + offset;
  a.workspace = workspace;
  table().batch_norm_backward(a, stream());
  Floats out = run.in_place ? dy.to_host() : dx.to_host();
  out.erase(out.begin(), out.begin() + offset);
  return {run.want_dx ? out : Floats(), a.accumulate ? dweight_sum.to_host() : dweight.to_host(),
          a.accumulate ? dbias_sum.to_host() : dbias.to_host()};
}
Backward backward_in_every_order(const Layer& l, const BackwardRun& run) {
  Backward got;
  run_all_ways(1, [&](int, int) {
    got = backward(l, run);
    return Results{.y = joined({got.dx, got.dweight, got.dbias})};
  });
  return got;
}

void check_backward(const Layer& l, const BackwardRun& run, const Backward& got) {
  const auto c = std::size_t(l.c);
  const double n = l.pixels;
  const reference::BatchStatistics s = reference::batch_statistics(c, wide(l.x), double(epsilon));
  reference::BatchNormGradients want =
      reference::batch_norm_backward(wide(l.x), wide(run.dy), wide(l.weight), double(epsilon));
  Values bound(want.dx.size()), dweight_bound(c), dbias_bound(c);
  for (std::size_t i = 0; i < bound.size(); ++i) {
    const std::size_t k = i % c;
    const double plain = std::abs(want.dbias[k]) / n, slope = std::abs(want.dweight[k]) / n;
    const double normal = std::abs(double(l.x[i]) - s.mean[k]) * s.inverse_std[k];
    const double pending = run.pending.empty() ? 0 : std::abs(double(run.pending[i]));
    // At most 8 roundings of the three terms; and the rounded mean shifts x̂, here and within Σ dy · x̂.
    bound[i] = unit * std::abs(double(l.weight[k])) * s.inverse_std[k] *
                   (8 * (std::abs(double(run.dy[i])) + plain + normal * slope) +
                    std::abs(s.mean[k]) * s.inverse_std[k] * (slope + plain * normal)) +
               2 * unit * pending;
  }
  for (std::size_t k = 0; k < c; ++k) {
    const double dweight_before = run.dweight_before.empty() ? 0 : double(run.dweight_before[k]);
    const double dbias_before = run.dbias_before.empty() ? 0 : double(run.dbias_before[k]);
    // Sums in double: the mean's and the deviation's rounding, the result's, and that of the addition.
    dweight_bound[k] = unit * (std::abs(s.mean[k]) * s.inverse_std[k] * std::abs(want.dbias[k]) +
                               3 * std::abs(want.dweight[k]) + std::abs(dweight_before)) +
                       1e-11;
    dbias_bound[k] = unit * (2.1 * std::abs(want.dbias[k]) + std::abs(dbias_before)) + 1e-11;
    want.dweight[k] += dweight_before;
    want.dbias[k] += dbias_before;
  }
  check_bounded(got.dweight, want.dweight, dweight_bound);
  check_bounded(got.dbias, want.dbias, dbias_bound);
  if (!run.want_dx) return;
  reference::finish(want.dx, run.pending, run.mask, c);
  check_bounded(got.dx, want.dx, bound);
}

}  // namespace

TEST_CASE("batch_norm_fprop") {
  struct Variant {
    bool residual, relu, in_place;
  };
  const Variant variants[] = {{false, false, false},
                              {false, true, false},
                              {true, true, false},
                              {true, true, true},
                              {true, false, true}};
  int turn = 0;
  for (const int pixels : pixel_counts) {
    for (const int c : channel_counts) {
      for (int v = 0; v < 5; ++v) {
        if (pixels > 7 && v != turn % 5) continue;  // the large ones take turns
        const auto& [residual, relu, in_place] = variants[v];
        CAPTURE(pixels);
        CAPTURE(c);
        CAPTURE(residual);
        CAPTURE(relu);
        CAPTURE(in_place);
        const Layer l = random_layer(pixels, c, residual, relu);
        const Forward got = forward_in_every_order(l, in_place);
        check_forward(l, got);
        // One float off a 16-byte boundary, where no wide load may run.
        const Forward off = forward(l, in_place, 1);
        CHECK_SAME_BITS(off.y, got.y);
        CHECK_SAME_BITS(off.mask, got.mask);
        CHECK_SAME_BITS(off.running_var, got.running_var);
      }
      ++turn;
    }
  }
}

TEST_CASE("batch_norm_fprop: a mean far above the deviation") {
  // Uniform of mean 100 and deviation 1. Σ x² is 10^4 a value: in float32 the variance would be off by 1e-3.
  Layer l = random_layer(5000, 8, false, false, 100 - 1.7320508f, 100 + 1.7320508f);
  const Forward got = forward_in_every_order(l, false);
  check_forward(l, got);
  // The mean, near 100, is rounded to 2^-18, off by 4e-6 at most; x − mean is exact then, and so x̂ is off by
  // 4e-6 and a few roundings of up to 1.7.
  l.weight.assign(8, 1);
  l.bias.assign(8, 0);
  CHECK_CLOSE(forward(l).y, reference::batch_norm(wide(l.x), wide(l.weight), wide(l.bias), double(epsilon)),
              5e-6, 1e-5);
}

TEST_CASE("batch_norm_fprop: a constant channel, a NaN, no running statistics, momentum 0 and 1") {
  Layer l = random_layer(70, 5, false, true);
  for (std::size_t i = 0; i < 70; ++i) {
    l.x[i * 5 + 1] = 100.1f;  // Σ x² − (Σ x)² / n may round below 0
    l.x[i * 5 + 2] = 0;
  }
  l.x[5 * 33 + 3] = nan_value;
  const Forward got = forward(l);
  for (std::size_t i = 0; i < 70; ++i) {
    CHECK(got.y[i * 5 + 1] == std::max(0.0f, l.bias[1]));
    CHECK(got.y[i * 5 + 2] == std::max(0.0f, l.bias[2]));
    CHECK(std::isnan(got.y[i * 5 + 3]));
    CHECK(!(got.mask[i] >> 3 & 1));
    CHECK(std::isfinite(got.y[i * 5 + 4]));
  }
  // Σ x² is 7e5, off by 1e-10 after 70 additions in double: nothing beside epsilon.
  CHECK(std::abs(got.inverse_std[1] * std::sqrt(epsilon) - 1) < 1e-6f);
  CHECK(std::abs(got.inverse_std[2] * std::sqrt(epsilon) - 1) < 1e-6f);
  CHECK(std::isnan(got.running_mean[3]));
  CHECK(std::isnan(got.running_var[3]));

  Layer bare = random_layer(70, 5, false, true);
  const Forward with = forward(bare), kept = forward(bare, false, 0, 0),
                replaced = forward(bare, false, 0, 1);
  CHECK_SAME_BITS(kept.running_mean, bare.running_mean);
  CHECK_SAME_BITS(kept.running_var, bare.running_var);
  CHECK_SAME_BITS(replaced.running_mean, with.mean);
  bare.running_mean.clear();
  bare.running_var.clear();
  CHECK_SAME_BITS(forward(bare).y, with.y);
}

TEST_CASE("batch_norm_backward") {
  int turn = 0;
  for (const int pixels : pixel_counts) {
    for (const int c : channel_counts) {
      for (int v = 0; v < 4; ++v) {
        if (pixels > 7 && v != turn % 4) continue;
        const bool accumulate = v % 2 == 1, in_place = v >= 2;
        CAPTURE(pixels);
        CAPTURE(c);
        CAPTURE(v);
        const Layer l = random_layer(pixels, c, false, false);
        const long long count = 1LL * pixels * c;
        BackwardRun run;
        run.dy = random_floats(count, 7);
        run.in_place = in_place;
        if (accumulate) run.dweight_before = random_floats(c, 8), run.dbias_before = random_floats(c, 9);
        if (v == 1 || v == 2) run.pending = random_floats(count, 10);
        if (v >= 2) run.mask = random_mask(pixels, c, 11);
        const Backward got = backward_in_every_order(l, run);
        check_backward(l, run, got);
        const Backward off = backward(l, run, 1);
        CHECK_SAME_BITS(off.dx, got.dx);
        CHECK_SAME_BITS(off.dweight, got.dweight);
        CHECK_SAME_BITS(off.dbias, got.dbias);
        run.want_dx = run.in_place = false;  // the parameters' gradients alone
        const Backward parameters = backward(l, run);
        CHECK_SAME_BITS(parameters.dweight, got.dweight);
        CHECK_SAME_BITS(parameters.dbias, got.dbias);
      }
      ++turn;
    }
  }
}

TEST_CASE("batch_norm_backward: a mean far above the deviation") {
  const Layer l = random_layer(1025, 6, false, false, 100 - 1.7320508f, 100 + 1.7320508f);
  BackwardRun run;
  run.dy = random_floats(1025 * 6, 7);
  check_backward(l, run, backward_in_every_order(l, run));
}

TEST_CASE("the reference of batch norm: gradients against finite differences") {
  const std::size_t c = 3, count = 7 * c;
  Values x = wide(random_floats(count, 1)), weight = wide(random_floats(c, 2)),
         bias = wide(random_floats(c, 3));
  const Values dy = wide(random_floats(count, 4));
  const auto loss = [&] {
    const Values y = reference::batch_norm(x, weight, bias, double(epsilon));
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += dy[i] * y[i];
    return sum;
  };
  const auto slopes = [&](Values& of) {
    Values d;
    for (double& v : of) {
      const double before = v, h = 1e-5;
      v = before + h;
      const double above = loss();
      v = before - h;
      d.push_back((above - loss()) / (2 * h));
      v = before;
    }
    return d;
  };
  const reference::BatchNormGradients g = reference::batch_norm_backward(x, dy, weight, double(epsilon));
  // h² = 1e-10 times a third derivative of about 10, and roundings of 1e-15 / h.
  CHECK_CLOSE(slopes(x), g.dx, 1e-8, 1e-8);
  CHECK_CLOSE(slopes(weight), g.dweight, 1e-8, 1e-8);
  CHECK_CLOSE(slopes(bias), g.dbias, 1e-8, 1e-8);
}
