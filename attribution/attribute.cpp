#include "attribution/attribute.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

namespace retrace {

using namespace kernels;

namespace {

// NHWC on the device to NCHW on the host.
std::vector<float> channels_first(const Tensor& t) {
  const std::vector<float> from = t.to_host();
  const std::int64_t n = t.dim(0), pixels = t.dim(1) * t.dim(2), c = t.dim(3);
  std::vector<float> to(from.size());
  for (std::int64_t i = 0; i < n; ++i) {
    const float* const image = from.data() + i * pixels * c;
    for (std::int64_t k = 0; k < c; ++k) {
      float* const plane = to.data() + (i * c + k) * pixels;
      for (std::int64_t p = 0; p < pixels; ++p) plane[p] = image[p * c + k];
    }
  }
  return to;
}

void sum_up(Attribution& result) {
  const std::size_t images = std::size_t(result.shape[0]), each = result.values.size() / images;
  for (std::size_t i = 0; i < images; ++i) {
    const float* const image = result.values.data() + i * each;
    double sums[4] = {};  // four at a time: one alone waits for every addition
    for (std::size_t e = 0; e < each; ++e) sums[e % 4] += image[e];
    result.sum.push_back((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

NodeId input_of(const Tape& tape) {
  for (NodeId id = 0; id < tape.size(); ++id) {
    if (tape.node(id).op == Op::input) return id;
  }
  throw Error("the tape has no input");
}

// A seed that is `values` (or 1) at each image's target.
Tensor seed_for(const Tape& tape, NodeId logits, const Tensor& targets, const Tensor* values) {
  const Tensor& z = tape.value(logits);
  Tensor seed(tape.device(), z.shape());
  tape.device().kernels().seed_targets({int(z.dim(0)), int(z.dim(1)), targets.data<std::int32_t>(),
                                        values ? values->data() : nullptr, seed.data()},
                                       tape.device().stream());
  return seed;
}

Tensor grad_cam(const Tensor& gradient, const Tensor& activations, Attribution& result, std::int64_t height,
                std::int64_t width) {
  if (activations.shape().size() != 4) {
    throw UsageError("grad-cam needs a layer with spatial extent, not one of shape " +
                     to_string(activations.shape()));
  }
  Device& device = activations.device();
  const int n = int(activations.dim(0)), h = int(activations.dim(1)), w = int(activations.dim(2)),
            c = int(activations.dim(3));
  Tensor weights(device, {n, c}), cam(device, {n, h, w}), map(device, {n, height, width});
  device.kernels().grad_cam_weights({n, h, w, c, gradient.data(), weights.data()}, device.stream());
  device.kernels().cam_combine({n, h, w, c, weights.data(), activations.data(), true, cam.data()},
                               device.stream());
  device.kernels().upsample_bilinear({n, h, w, int(height), int(width), cam.data(), map.data()},
                                     device.stream());
  result.grid_shape = cam.shape();
  result.grid = cam.to_host();
  return map;
}

// What a person should know before believing the map.
void warn(Attribution& result) {
  for (std::size_t i = 0; i < result.ledger->arrived.size(); ++i) {
    const LedgerTotals totals = result.ledger->totals(i);
    // Whatever a rule adds and takes away again, a sound walk's relevances stay of the size of the start.
    constexpr double most_growth = 1000;
    if (!std::isfinite(totals.arrived) || !(totals.largest_flow <= most_growth * std::abs(totals.start))) {
      result.warnings.push_back(
          fmt::format("image {}: absolute relevance grows to {:.3g} at layer {} from a start of {:.3g}: this "
                      "rule is unstable "
                      "here, the map is not to be trusted",
                      i, totals.largest_flow, totals.largest_flow_layer, totals.start));
    }
  }
}

}  // namespace

Attribution attribute(const Model& model, const Tape& tape, NodeId logits, const std::vector<int>& targets,
                      const Method& method) {
  Device& device = tape.device();
  const Tensor& z = tape.value(logits);
  const NodeId input = input_of(tape);
  const Tensor& x = tape.value(input);
  const std::int64_t n = z.dim(0), classes = z.dim(1);
  if (std::int64_t(targets.size()) != n) {
    throw UsageError(fmt::format("{} targets for a batch of {}", targets.size(), n));
  }
  for (const int target : targets) {
    if (target < 0 || target >= classes) {
      throw UsageError(
          fmt::format("target {}: model {} has classes 0 to {}", target, model.info().name, classes - 1));
    }
  }
  const std::vector<float> scores = z.to_host();
  Attribution result;
  result.method = method.text;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const double score = scores[i * std::size_t(classes) + std::size_t(targets[i])];
    result.start.push_back(method.kind == MethodKind::lrp && method.lrp.start == Start::one_hot ? 1.0
                                                                                                : score);
  }
  const Tensor target_indices =
      Tensor::from_host(device, {n}, std::vector<std::int32_t>(targets.begin(), targets.end()));

  device.synchronize();
  const auto begin = std::chrono::steady_clock::now();
  Tensor map;
  switch (method.kind) {
    case MethodKind::input_gradient: {
      GradientRule rule;
      map = Walk(tape, rule, logits, {input}).run(seed_for(tape, logits, target_indices, nullptr)).at(input);
      break;
    }
    case MethodKind::grad_cam: {
      GradientRule rule;
      const NodeId layer = model.layer(tape, method.layer.empty() ? model.cam_layer() : method.layer);
      const Tensor gradient =
          Walk(tape, rule, logits, {layer}).run(seed_for(tape, logits, target_indices, nullptr)).at(layer);
      map = grad_cam(gradient, tape.value(layer), result, x.dim(1), x.dim(2));
      break;
    }
    case MethodKind::lrp: {
      LrpOptions options = method.lrp;
      const auto& in = model.info().input;
      for (std::size_t c = 0; c < 3; ++c) {
        options.low[c] = (0 - in.mean[c]) / in.std[c];
        options.high[c] = (1 - in.mean[c]) / in.std[c];
      }
      // Relevance per unit of the logit: 1 if its value is the start, 1 / value if 1 is.
      Tensor per_unit;
      if (options.start == Start::one_hot) {
        std::vector<float> inverse(scores.size());
        for (std::size_t i = 0; i < scores.size(); ++i) inverse[i] = scores[i] == 0 ? 0 : 1 / scores[i];
        per_unit = Tensor::from_host(device, z.shape(), inverse);
      }
      LrpRule rule(options);
      map = Walk(tape, rule, logits, {input})
                .run(seed_for(tape, logits, target_indices, per_unit ? &per_unit : nullptr))
                .at(input);
      result.ledger = rule.ledger(input);
      break;
    }
  }
  device.synchronize();
  result.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (map.shape().size() == 3) {
    result.shape = map.shape();
    result.values = map.to_host();
  } else {
    result.shape = {map.dim(0), map.dim(3), map.dim(1), map.dim(2)};
    result.values = channels_first(map);
  }
  sum_up(result);
  if (result.ledger) warn(result);
  return result;
}

}  // namespace retrace
