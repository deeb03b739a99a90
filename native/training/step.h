// Losses and gradients of one training step (docs/method.md, Synthetic anomalies, Losses), in two implementations of
// the same function: `stepDirect` at full resolution with autograd (the oracle), `stepLowResolution` as the trainer
// uses it.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "anomalies/latent_noise.h"
#include "heads/low_resolution.h"
#include "heads/parameters.h"
#include "training/losses.h"

namespace ssn {

// Latent noise at the given cells of this rank's duplicated batch, on the device that holds `cells` (int64, indices
// into 2b x H W; off the CPU an index may be -1, where there is none).
using NoiseSource = std::function<Noise(const at::Tensor& cells)>;

// The input of b images, all on one device. In a group, b is this rank's share of the batch and may be 0.
struct StepInput {
  std::vector<at::Tensor> layerMaps;  // b x C_l x h_l x w_l, channels-last
  at::Tensor mask;                    // b x 1 x H x W of 0/1, the real defects
  at::Tensor label;                   // b
  at::Tensor segmented;               // b
  at::Tensor weight;                  // b x 1 x H x W
  at::Tensor perlinMask;              // 2b x 1 x H x W of 0/1
  NoiseSource noise;
  int64_t capacity = 0;  // off the CPU, low-resolution form: at least the number of positions that have noise
  at::Tensor
      rowSpace;  // off the CPU, low-resolution form: memory for (b HW + capacity) x 1024 floats; undefined: allocate it
};

struct StepOptions {
  bool alignCorners, upscale;  // of the features
  bool adaptedClassification;  // icpr: the classification head sees A
  bool stopGradient;
  bool overlap;              // noise on real defects too (ablation)
  bool focalMap;             // the map's focal loss; without it the truncated L1 alone (ablation)
  at::ScalarType precision;  // of the operands of the wide products in the low-resolution form; the results are float32
  Group* group;              // the ranks that share the batch; null: this process has all of it
};

struct StepOutput {
  at::Tensor l1Normal, l1Anomalous, focalMap, focalScore;  // scalars; in a group, like the gradients, this rank's share
  at::Tensor map;                                          // 2b x 1 x H x W
  at::Tensor score;                                        // 2b
  Targets targets;                                         // of the duplicated batch
  std::vector<at::Tensor> gradients;  // one for each trained entry of Heads::named(), in that order
  at::Tensor active;                  // how many positions have noise; of the low-resolution form
};

// Off the CPU the low-resolution form never waits and does the same for the same sizes and capacity, so a graph can
// repeat it. Both update the running statistics of the heads' batch norms. The low-resolution
// form is for the standard layout only.
StepOutput stepDirect(Heads& heads, const StepInput& input, const StepOptions& options);
StepOutput stepLowResolution(Heads& heads, const StepInput& input, const StepOptions& options,
                             const LowResolutionGeometry& geometry);

// Where noise is added, and what the duplicated batch is trained towards (docs/method.md, Synthetic anomalies, steps 4
// and 5).
struct Perturbation {
  at::Tensor noiseMask;  // 2b x 1 x H x W
  Targets targets;
};
Perturbation perturbation(const StepInput& input, bool overlap);

// A capacity for so many positions, of `cells` in all. In steps, so that few different ones occur.
int64_t capacityFor(int64_t positions, int64_t cells);

// The trained entries of heads.named().
std::vector<Heads::Named> trainedParameters(Heads& heads);

}  // namespace ssn
