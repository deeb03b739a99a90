#include "heads/direct.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>

namespace ssn {
namespace {

at::Tensor normalised(const at::Tensor& x, const BatchNorm& norm, bool training, Group* group) {
  if (training && group != nullptr)
    return batchNormOverRanks(x, norm.weight, norm.bias, norm.runningMean, norm.runningVar, kHeadsBatchNormMomentum,
                              kHeadsBatchNormEps, *group);
  return at::batch_norm(x, norm.weight, norm.bias, norm.runningMean, norm.runningVar, training, kHeadsBatchNormMomentum,
                        kHeadsBatchNormEps, /*cudnn_enabled=*/true);
}

// relu, pooling and the last linear layer: max and mean over space of the 128 channels, then, if the head sees it, max
// and mean of the map.
at::Tensor scoreFromNormalised(const Heads& heads, const at::Tensor& x, const at::Tensor& map) {
  const at::Tensor y = at::relu(x);
  std::vector<at::Tensor> pooled = {at::amax(y, {2, 3}), y.mean({2, 3})};
  if (heads.layout.mapInput) pooled.insert(pooled.end(), {at::amax(map, {2, 3}), map.mean({2, 3})});
  return at::linear(at::cat(pooled, 1), heads.fcWeight, heads.fcBias).squeeze(1);
}

}  // namespace

at::Tensor adapted(const Heads& heads, const at::Tensor& features) {
  return at::conv2d(features, heads.adaptorWeight, heads.adaptorBias);
}

HeadsOutput headsDirect(const Heads& heads, const at::Tensor& adaptedFeatures, const at::Tensor& classificationInput,
                        bool training, bool stopGradient, Group* group) {
  const at::Tensor hidden =
      normalised(at::conv2d(adaptedFeatures, heads.segWeight, heads.segBias), heads.segNorm, training, group);
  HeadsOutput out;
  out.map = at::conv2d(at::leaky_relu(hidden, kLeakySlope), heads.segOut);
  if (heads.layout.classification == HeadLayout::kMapMax) {
    out.score = at::amax(out.map, {1, 2, 3});
    return out;
  }
  const at::Tensor map = stopGradient ? out.map.detach() : out.map;
  const auto block = [training, group](const at::Tensor& in, const at::Tensor& weight, const at::Tensor& bias,
                                       const BatchNorm& norm) {
    return normalised(at::conv2d(in, weight, bias, /*stride=*/1, /*padding=*/kTapSide / 2), norm, training, group);
  };
  at::Tensor x = block(heads.layout.mapInput ? at::cat({classificationInput, map}, 1) : classificationInput,
                       heads.clsWeight, heads.clsBias, heads.clsNorm);
  if (heads.layout.classification == HeadLayout::kComplex) {
    for (const ConvBlock& next : heads.deeper) x = block(at::relu(x), next.weight, next.bias, next.norm);
  }
  out.score = scoreFromNormalised(heads, x, map);
  return out;
}

}  // namespace ssn
