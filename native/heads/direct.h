// The heads computed the plain way at full resolution, with autograd: the oracle of heads/low_resolution.
#pragma once

#include <ATen/core/Tensor.h>

#include "distributed/group.h"
#include "heads/parameters.h"

namespace ssn {

struct HeadsOutput {
  at::Tensor map;    // n x 1 x H x W, logits
  at::Tensor score;  // n, logits
};

// A = adaptor(F): n x C x H x W.
at::Tensor adapted(const Heads& heads, const at::Tensor& features);

// docs/method.md, Heads, or the ablation that heads.layout names. `classificationInput` is F (jims) or A (icpr), each
// already perturbed in training. training: batch statistics, over all ranks of a group, and the running ones are
// updated. stopGradient: none flows from the score into the map.
HeadsOutput headsDirect(const Heads& heads, const at::Tensor& adaptedFeatures, const at::Tensor& classificationInput,
                        bool training, bool stopGradient, Group* group = nullptr);

}  // namespace ssn
