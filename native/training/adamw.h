// AdamW as PyTorch computes it (betas 0.9, 0.999, eps 1e-8, decoupled weight decay).
#pragma once

#include <ATen/core/Tensor.h>

namespace ssn {

struct AdamWState {
  at::Tensor mean, variance;  // exponential moving averages of the gradient and its square
};

// One update in place; `step` counts from 1.
void adamwStep(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, int64_t step, double learningRate, double weightDecay);

}  // namespace ssn
