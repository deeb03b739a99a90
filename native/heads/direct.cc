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

at::Tensor normalised(const at::Tensor& x, const BatchNorm& norm, bool training) {
  return at::batch_norm(x, norm.weight, norm.bias, norm.runningMean, norm.runningVar, training, kHeadsBatchNormMomentum, kHeadsBatchNormEps, /*cudnn_enabled=*/true);
}

// relu, pooling and the last linear layer: max and mean over space of the 128 channels, then max and mean of the map.
at::Tensor scoreFromNormalised(const Heads& heads, const at::Tensor& x, const at::Tensor& map) {
  const at::Tensor y = at::relu(x);
  const at::Tensor pooled = at::cat({at::amax(y, {2, 3}), y.mean({2, 3}), at::amax(map, {2, 3}), map.mean({2, 3})}, 1);
  return at::linear(pooled, heads.fcWeight, heads.fcBias).squeeze(1);
}

}  // namespace

at::Tensor adapted(const Heads& heads, const at::Tensor& features) { return at::conv2d(features, heads.adaptorWeight, heads.adaptorBias); }

HeadsOutput headsDirect(const Heads& heads, const at::Tensor& adaptedFeatures, const at::Tensor& classificationInput, bool training, bool stopGradient) {
  const at::Tensor hidden = normalised(at::conv2d(adaptedFeatures, heads.segWeight, heads.segBias), heads.segNorm, training);
  HeadsOutput out;
  out.map = at::conv2d(at::leaky_relu(hidden, kLeakySlope), heads.segOut);
  const at::Tensor map = stopGradient ? out.map.detach() : out.map;
  const at::Tensor x = at::conv2d(at::cat({classificationInput, map}, 1), heads.clsWeight, heads.clsBias, /*stride=*/1, /*padding=*/kTapSide / 2);
  out.score = scoreFromNormalised(heads, normalised(x, heads.clsNorm, training), map);
  return out;
}

}  // namespace ssn
