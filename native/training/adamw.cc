#include "training/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

namespace ssn {

void adamwStep(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, int64_t step, double learningRate, double weightDecay) {
  constexpr double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  at::NoGradGuard guard;
  if (!state.mean.defined()) {
    state.mean = at::zeros_like(parameter);
    state.variance = at::zeros_like(parameter);
  }
  parameter.mul_(1.0 - learningRate * weightDecay);
  state.mean.lerp_(gradient, 1.0 - beta1);
  state.variance.mul_(beta2).addcmul_(gradient, gradient, 1.0 - beta2);
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(step));
  const double correction2 = std::sqrt(1.0 - std::pow(beta2, static_cast<double>(step)));
  parameter.addcdiv_(state.mean, (state.variance.sqrt() / correction2).add_(eps), -learningRate / correction1);
}

}  // namespace ssn
