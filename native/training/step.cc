#include "training/step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <ATen/core/grad_mode.h>

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

std::vector<at::Tensor> activePositions(const at::Tensor& noiseMask) {
  const at::Tensor mask = noiseMask.cpu().contiguous();
  const float* data = mask.data_ptr<float>();
  const int64_t samples = mask.size(0), plane = mask.size(2) * mask.size(3);
  std::vector<at::Tensor> out;
  for (int64_t s = 0; s < samples; ++s, data += plane) {
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < plane; ++i)
      if (data[i] != 0) positions.push_back(static_cast<int32_t>(i));
    at::Tensor tensor = at::empty({static_cast<int64_t>(positions.size())}, at::kInt);
    std::copy(positions.begin(), positions.end(), tensor.data_ptr<int32_t>());
    out.push_back(tensor);
  }
  return out;
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
    features = pooledFeatures(input.taps, options.alignCorners, options.upscale);
    perturbed = perturbation(input, options.overlap);
    // Dense, zero where the mask is: noise x noise mask of spec section 3.
    const int64_t samples = perturbed.noiseMask.size(0), channels = features.size(1);
    noise = at::zeros({samples, channels, features.size(2) * features.size(3)}, features.options());
    const auto positions = activePositions(perturbed.noiseMask);
    for (int64_t s = 0; s < samples; ++s) {
      if (positions[s].numel() == 0) continue;
      noise[s].index_copy_(1, positions[s].to(features.device(), at::kLong), input.noise(s, positions[s]).t());
    }
    noise = noise.view({samples, channels, features.size(2), features.size(3)});
  }
  throwIfCancelled();
  const at::Tensor adaptedFeatures = adapted(heads, features);
  const at::Tensor perturbedAdapted = at::cat({adaptedFeatures, adaptedFeatures}, 0) + noise;
  const at::Tensor classificationInput = options.adaptedClassification ? perturbedAdapted : at::cat({features, features}, 0) + noise;
  const HeadsOutput heads_ = headsDirect(heads, perturbedAdapted, classificationInput, /*training=*/true, options.stopGradient, options.group);
  const Losses loss = losses(heads_.map, heads_.score, perturbed.targets, {options.focalMap, heads.layout.classification != HeadLayout::kMapMax}, options.group);
  throwIfCancelled();
  loss.total().backward();

  StepOutput out{loss.l1Normal.detach(), loss.l1Anomalous.detach(), loss.focalMap.detach(), loss.focalScore.detach(), heads_.map.detach(), heads_.score.detach(), perturbed.targets, {}};
  for (const auto& parameter : parameters) {
    out.gradients.push_back(parameter.tensor->grad());
    parameter.tensor->mutable_grad() = at::Tensor();
    parameter.tensor->set_requires_grad(false);
  }
  return out;
}

}  // namespace ssn
