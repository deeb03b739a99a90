// AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization"; docs/method.md, Training), betas 0.9 and
// 0.999, eps 1e-8.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ssn {

struct AdamWState {
  at::Tensor mean, variance;  // undefined before the first step
};

// What all parameters of one learning rate share in a step.
struct AdamWRates {
  double decay;     // 1 - learning rate * weight decay
  double stepSize;  // learning rate / (1 - 0.9^step)
  double root;      // sqrt(1 - 0.999^step)

  AdamWRates(int64_t step, double learningRate, double weightDecay);  // step: from 1
};

// Makes moments of zero if there are none.
void begin(AdamWState& state, const at::Tensor& parameter);

// One step in place. On the CPU.
void adamwStep(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, const AdamWRates& rates);

// One step on another device. `rates` has the three numbers of AdamWRates and `norm` the global gradient norm, both as
// doubles on the device. The gradient is scaled to a norm of at most `clip`; 0 does not clip. Call begin() first: the
// state must not lie in a graph's memory. One kernel, which a graph can repeat with other numbers.
void adamwStepOnDevice(at::Tensor& parameter, const at::Tensor& gradient, AdamWState& state, const at::Tensor& rates,
                       const at::Tensor& norm, double clip);

}  // namespace ssn
