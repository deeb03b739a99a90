// Gaussian noise in feature space (docs/method.md, Synthetic anomalies; paper section 3.3): N(0, std_c^2), independent
// per element.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "anomalies/streams.h"

namespace ssn {

// P x C, where `cells` is (int64: sample * plane + position, a position is y * featureWidth + x): std[c] * z(seed,
// step, stream, position, c), z unit normal; 0 where a cell is negative (never on the CPU). std: C, undefined
// stands for ones. Values do not depend on which other cells are asked for, so noise is made only where a mask needs
// it; nor on the device: a GPU draws the same bits.
at::Tensor latentNoise(const StepStreams& streams, int64_t plane, const at::Tensor& cells, int64_t channels,
                       const at::Tensor& std);
void latentNoise(const StepStreams& streams, int64_t plane, const at::Tensor& cells, const at::Tensor& std,
                 at::Tensor out);  // P x C

}  // namespace ssn
