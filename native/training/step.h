// Losses and gradients of one training step (spec sections 3 and 4), in two implementations of the same function:
// `stepDirect` at full resolution with autograd (the oracle), `stepLowResolution` as the trainer uses it.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "heads/low_resolution.h"
#include "heads/parameters.h"
#include "training/losses.h"

namespace ssn {

// Latent noise at the given cells of this rank's duplicated batch: P x C, on the device that holds `cells` (int64, indices into 2b x H W).
using NoiseSource = std::function<at::Tensor(const at::Tensor& cells)>;

// Of b images; in a group b is this rank's share of the batch, and may be 0.
struct StepInput {
  std::vector<at::Tensor> taps;  // b x C_l x h_l x w_l, channels-last
  // The rest is on the CPU, whatever the device of the taps: how many positions have noise decides shapes.
  at::Tensor mask;               // b x 1 x H x W of 0/1, the real defects
  at::Tensor label;              // b
  at::Tensor segmented;          // b
  at::Tensor weight;             // b x 1 x H x W
  at::Tensor perlinMask;         // 2b x 1 x H x W of 0/1
  NoiseSource noise;
};

struct StepOptions {
  bool alignCorners, upscale;  // of the features
  bool adaptedClassification;  // icpr: the classification head sees A
  bool stopGradient;
  bool overlap;   // noise on real defects too (ablation)
  bool focalMap;  // the map's focal loss; without it the truncated L1 alone (ablation)
  at::ScalarType precision;  // of the operands of the wide products in the low-resolution form; the results are float32
  Group* group;   // the ranks that share the batch; null: this process has all of it
};

struct StepOutput {
  at::Tensor l1Normal, l1Anomalous, focalMap, focalScore;  // scalars; in a group, like the gradients, this rank's share
  at::Tensor map;                                          // 2b x 1 x H x W
  at::Tensor score;                                        // 2b
  Targets targets;                                         // of the duplicated batch
  std::vector<at::Tensor> gradients;                       // one for each trained entry of Heads::named(), in that order
};

// Both update the running statistics of the heads' batch norms. The low-resolution form is for the standard layout only.
StepOutput stepDirect(Heads& heads, const StepInput& input, const StepOptions& options);
StepOutput stepLowResolution(Heads& heads, const StepInput& input, const StepOptions& options, const LowResolutionGeometry& geometry);

// Where noise is added, and what the duplicated batch is trained towards (spec section 3, steps 4 and 5).
struct Perturbation {  // on the CPU
  at::Tensor noiseMask;  // 2b x 1 x H x W
  Targets targets;
};
Perturbation perturbation(const StepInput& input, bool overlap);

// Ascending indices (int64, CPU) into 2b x H W where the noise mask is set.
at::Tensor activeCells(const at::Tensor& noiseMask);

// Without waiting for a GPU: through page-locked memory, in the order of its stream.
at::Tensor uploaded(const at::Tensor& tensor, at::Device device);
Targets uploaded(const Targets& targets, at::Device device);

// The trained entries of heads.named().
std::vector<Heads::Named> trainedParameters(Heads& heads);

}  // namespace ssn
