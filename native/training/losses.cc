#include "training/losses.h"

#include <ATen/ops/clamp_min.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
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

}  // namespace

Losses losses(const at::Tensor& map, const at::Tensor& score, const Targets& targets, LossTerms terms, Group* group) {
  const at::Tensor segmented = targets.segmented.view({-1, 1, 1, 1});
  const at::Tensor normal = (1.0 - targets.mask) * segmented, anomalous = targets.mask * segmented,
                   all = segmented.expand_as(map);
  const at::Tensor scores = at::full({}, static_cast<double>(score.numel()), map.options());
  const at::Tensor counts = sumOverRanks(at::stack({normal.sum(), anomalous.sum(), all.sum(), scores}), group);
  // Mean over the selected elements (selection is 0/1), 0 if there are none.
  const auto mean = [&](const at::Tensor& values, const at::Tensor& selection, int64_t count) {
    return (values * selection).sum() / at::clamp_min(counts[count], 1.0);
  };
  Losses out;
  out.l1Normal = mean(at::clamp_min(map + kMargin, 0.0) * targets.weight, normal, 0);
  out.l1Anomalous = mean(at::clamp_min(kMargin - map, 0.0) * targets.weight, anomalous, 1);
  const at::Tensor none = at::zeros({}, map.options());
  out.focalMap = terms.focalMap ? mean(focal(map, targets.mask) * targets.weight, all, 2) : none;
  out.focalScore = terms.focalScore ? focal(score, targets.label).sum() / counts[3] : none;
  return out;
}

}  // namespace ssn
