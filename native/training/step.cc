#include "training/step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "cancel.h"
#include "features/features.h"
#include "heads/direct.h"

namespace ssn {

Perturbation perturbation(const StepInput& input, bool overlap) {
  const at::Tensor mask = at::cat({input.mask, input.mask}, 0);
  Perturbation out;
  out.noiseMask = overlap ? input.perlinMask : input.perlinMask * (1.0 - mask);
  out.targets.mask = at::maximum(mask, out.noiseMask);
  out.targets.label = at::maximum(at::cat({input.label, input.label}, 0), at::amax(out.targets.mask, {1, 2, 3}));
  out.targets.segmented = at::cat({input.segmented, input.segmented}, 0);
  out.targets.weight = at::cat({input.weight, input.weight}, 0);
  return out;
}

int64_t capacityFor(int64_t positions, int64_t cells) {
  // Half a step is wasted on average; Perlin masks fill about a seventh of the cells. Tensor cores want multiples of 8.
  const int64_t step = std::max<int64_t>(64, cells / 64 / 64 * 64);
  return std::max(step, (positions + step - 1) / step * step);
}

std::vector<Heads::Named> trainedParameters(Heads& heads) {
  std::vector<Heads::Named> out;
  for (const Heads::Named& entry : heads.named())
    if (entry.group != Heads::Named::kBuffer) out.push_back(entry);
  return out;
}

StepOutput stepDirect(Heads& heads, const StepInput& input, const StepOptions& options) {
  const auto parameters = trainedParameters(heads);
  for (const auto& parameter : parameters) {
    parameter.tensor->set_requires_grad(true);
    parameter.tensor->mutable_grad() = at::Tensor();
  }
  at::Tensor features, noise;
  Perturbation perturbed;
  {
    at::NoGradGuard guard;
    features = pooledFeatures(input.layerMaps, options.alignCorners, options.upscale);
    perturbed = perturbation(input, options.overlap);
    // Dense, zero where the mask is: noise x noise mask of docs/method.md, Synthetic anomalies.
    const int64_t samples = perturbed.noiseMask.size(0), channels = features.size(1), h = features.size(2),
                  w = features.size(3);
    const at::Tensor cells = perturbed.noiseMask.reshape(-1).nonzero().squeeze(1);
    noise = at::zeros({samples * h * w, channels}, features.options())
                .index_copy_(0, cells, input.noise(cells).expanded())
                .view({samples, h, w, channels})
                .permute({0, 3, 1, 2})
                .contiguous();
  }
  throwIfCancelled();
  const at::Tensor adaptedFeatures = adapted(heads, features);
  const at::Tensor perturbedAdapted = at::cat({adaptedFeatures, adaptedFeatures}, 0) + noise;
  const at::Tensor classificationInput =
      options.adaptedClassification ? perturbedAdapted : at::cat({features, features}, 0) + noise;
  const HeadsOutput heads_ =
      headsDirect(heads, perturbedAdapted, classificationInput, /*training=*/true, options.stopGradient, options.group);
  const Losses loss = losses(heads_.map, heads_.score, perturbed.targets,
                             {options.focalMap, heads.layout.classification != HeadLayout::kMapMax}, options.group);
  throwIfCancelled();
  loss.total().backward();

  StepOutput out{loss.l1Normal.detach(),
                 loss.l1Anomalous.detach(),
                 loss.focalMap.detach(),
                 loss.focalScore.detach(),
                 heads_.map.detach(),
                 heads_.score.detach(),
                 perturbed.targets,
                 {},
                 {}};
  for (const auto& parameter : parameters) {
    out.gradients.push_back(parameter.tensor->grad());
    parameter.tensor->mutable_grad() = at::Tensor();
    parameter.tensor->set_requires_grad(false);
  }
  return out;
}

}  // namespace ssn
