// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization"; spec section 5), betas 0.9 and 0.999, eps
// 1e-8.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ssn {

struct AdamWState {
  at::Tensor mean, variance;  // undefined before the first step
};

// What of a step is the same for all parameters of one learning rate.
struct AdamWRates {
  double decay;     // 1 - learning rate * weight decay
  double stepSize;  // learning rate / (1 - 0.9^step)
  double root;      // sqrt(1 - 0.999^step)

  AdamWRates(int64_t step, double learningRate, double weightDecay);  // step: from 1
};

// Moments of zero, if there are none.
void begin(AdamWState& state, const at::Tensor& parameter);

// One step in place. On the CPU.
void adamwStep(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, const AdamWRates& rates);

// Elsewhere, with the three numbers of `rates` as doubles in the device's memory, and the gradient scaled to a global
// `norm` (double, likewise) of at most `clip`; 0 does not clip. The state has begun: it must not lie in a graph's
// memory. One kernel, which a graph can repeat with other numbers.
void adamwStepOnDevice(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, const at::Tensor& rates,
                       const at::Tensor& norm, double clip);

}  // namespace ssn
