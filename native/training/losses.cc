#include "training/losses.h"

#include <ATen/ops/clamp_min.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

namespace ssn {
namespace {

constexpr double kMargin = 0.5;  // th
constexpr double kGamma = 4.0;

// -(1 - p_t)^4 log p_t with p_t the probability of the true class: z = x for target 0, -x for target 1.
at::Tensor focal(const at::Tensor& logits, const at::Tensor& target) {
  const at::Tensor z = logits * (1.0 - 2.0 * target);
  return -at::log_sigmoid(-z) * at::sigmoid(z).pow(kGamma);
}

// Mean over the selected elements (selection is 0/1), 0 if there are none.
at::Tensor selectedMean(const at::Tensor& values, const at::Tensor& selection) { return (values * selection).sum() / at::clamp_min(selection.sum(), 1.0); }

}  // namespace

Losses losses(const at::Tensor& map, const at::Tensor& score, const Targets& targets, LossTerms terms) {
  const at::Tensor segmented = targets.segmented.view({-1, 1, 1, 1});
  Losses out;
  out.l1Normal = selectedMean(at::clamp_min(map + kMargin, 0.0) * targets.weight, (1.0 - targets.mask) * segmented);
  out.l1Anomalous = selectedMean(at::clamp_min(kMargin - map, 0.0) * targets.weight, targets.mask * segmented);
  const at::Tensor none = at::zeros({}, map.options());
  out.focalMap = terms.focalMap ? selectedMean(focal(map, targets.mask) * targets.weight, segmented.expand_as(map)) : none;
  out.focalScore = terms.focalScore ? focal(score, targets.label).mean() : none;
  return out;
}

}  // namespace ssn
