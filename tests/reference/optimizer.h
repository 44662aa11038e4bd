// Steps of optimizers in float64, as torch.optim writes them down.
#pragma once
#include <cmath>

#include "kernels/ops/train.h"
#include "tests/reference/signal.h"

namespace retrace::reference {

// torch.optim.SGD (dampening 0). `buffer` is empty before the first step with momentum, as there.
inline void sgd(const kernels::SgdStep& a, double scale, const std::vector<float>& dw, Values& buffer,
                Values& w) {
  const double momentum = double(a.momentum);
  const bool first = buffer.empty();
  if (first) buffer.resize(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    double g = scale * double(dw[i]) + double(a.weight_decay) * w[i];
    if (momentum != 0) {
      buffer[i] = first ? g : momentum * buffer[i] + g;
      g = a.nesterov ? g + momentum * buffer[i] : buffer[i];
    }
    w[i] -= double(a.rate) * g;
  }
}

// torch.optim.AdamW; step counts from 1.
inline void adamw(const kernels::AdamWStep& a, double scale, const std::vector<float>& dw, Values& first,
                  Values& second, Values& w) {
  const double beta1 = double(a.beta1), beta2 = double(a.beta2), rate = double(a.rate);
  const double correction1 = 1 - std::pow(beta1, double(a.step)),
               correction2 = 1 - std::pow(beta2, double(a.step));
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double g = scale * double(dw[i]);
    w[i] -= rate * double(a.weight_decay) * w[i];
    first[i] += (1 - beta1) * (g - first[i]);
    second[i] = beta2 * second[i] + (1 - beta2) * g * g;
    w[i] -=
        rate / correction1 * first[i] / (std::sqrt(second[i]) / std::sqrt(correction2) + double(a.epsilon));
  }
}

}  // namespace retrace::reference
