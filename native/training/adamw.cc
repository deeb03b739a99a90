#include "training/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "kernels/run.h"
#include "kernels/training.h"

namespace ssn {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;

}  // namespace

void begin(AdamWState& state, const at::Tensor& parameter) {
  if (state.mean.defined()) return;
  state.mean = at::zeros_like(parameter);
  state.variance = at::zeros_like(parameter);
}

AdamWRates::AdamWRates(int64_t step, double learningRate, double weightDecay)
    : decay(1.0 - learningRate * weightDecay),
      stepSize(learningRate / (1.0 - std::pow(kBeta1, static_cast<double>(step)))),
      root(std::sqrt(1.0 - std::pow(kBeta2, static_cast<double>(step)))) {}

void adamwStep(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, const AdamWRates& rates) {
  at::NoGradGuard guard;
  begin(state, parameter);
  parameter.mul_(rates.decay);
  state.mean.lerp_(gradient, 1.0 - kBeta1);
  state.variance.mul_(kBeta2).addcmul_(gradient, gradient, 1.0 - kBeta2);
  parameter.addcdiv_(state.mean, (state.variance.sqrt() / rates.root).add_(kEps), -rates.stepSize);
}

void adamwStepOnDevice(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, const at::Tensor& rates,
                       const at::Tensor& norm, double clip) {
  TORCH_INTERNAL_ASSERT(parameter.is_contiguous() && state.mean.is_contiguous() && state.variance.is_contiguous());
  const at::Tensor dense = gradient.contiguous();
  forEach(parameter.device(), parameter.numel(),
          kernels::AdamW{parameter.data_ptr<float>(), dense.data_ptr<float>(), state.mean.data_ptr<float>(),
                         state.variance.data_ptr<float>(), rates.data_ptr<double>(), norm.data_ptr<double>(), clip});
}

}  // namespace ssn
