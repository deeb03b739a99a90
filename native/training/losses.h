// The four losses of docs/method.md, Losses (paper eq. 5 to 9), in stable logit form, differentiable in map and score.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "distributed/group.h"

namespace ssn {

struct Targets {
  at::Tensor mask;       // n x 1 x H x W of 0/1
  at::Tensor label;      // n of 0/1
  at::Tensor segmented;  // n of 0/1: 0 for an anomalous image without pixel labels
  at::Tensor weight;     // n x 1 x H x W, distance weight
};

struct Losses {
  at::Tensor l1Normal, l1Anomalous, focalMap, focalScore;  // scalars
  at::Tensor total() const { return l1Normal + l1Anomalous + focalMap + focalScore; }
};

// Which focal terms to compute (the others are 0): an ablation has the truncated L1 alone for the map, and a
// score that is the map's maximum is not trained.
struct LossTerms {
  bool focalMap = true, focalScore = true;
};

// In a group these are the means over the images of all ranks; each rank gets its images' share, and the shares add up.
Losses losses(const at::Tensor& map, const at::Tensor& score, const Targets& targets, LossTerms terms, Group* group);

}  // namespace ssn
