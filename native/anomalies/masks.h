// Where a training step has synthetic anomalies, before real defects are taken out (docs/method.md, Synthetic
// anomalies, Ablations).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "anomalies/streams.h"
#include "kernels/perlin.h"

namespace ssn {

struct AnomalyMaskOptions {
  AnomalyKind kind;
  int64_t height, width;  // of the features
  float threshold;
};

// 2 images x 1 x H x W of 0/1 on `device`. The same bits on every device.
at::Tensor anomalyMasks(const AnomalyMaskOptions& options, const StepStreams& streams, at::Device device);

// How many positions of each step's duplicated batch will have noise, for steps of one seed. rows: for all of their
// images, where the real defects are in `real`. real: rows x H W of 0/1 (uint8), where there is none; undefined: noise
// on real defects too. On the device of `real`, or `device`; waits for it once.
std::vector<int64_t> anomalyCounts(const AnomalyMaskOptions& options, const std::vector<StepStreams>& steps,
                                   const std::vector<int64_t>& rows, const at::Tensor& real, at::Device device);

}  // namespace ssn
