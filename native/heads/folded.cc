#include "heads/folded.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>

#include "cancel.h"
#include "heads/folded_rows.h"
#include "runs_on_host.h"

namespace ssn {

FoldedHeads::FoldedHeads(const Heads& heads, bool adaptedClassification, const LowResolutionGeometry& geometry,
                         at::ScalarType precision)
    : geometry_(geometry) {
  const int64_t c = heads.channels();
  // Folded in double, once.
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const auto narrow = [](const at::Tensor& t) { return t.to(at::kFloat).contiguous(); };
  const auto scaleOf = [&](const BatchNorm& norm) {
    return wide(norm.weight) / (wide(norm.runningVar) + kHeadsBatchNormEps).sqrt();
  };
  const at::Tensor w1 = wide(heads.segWeight).view({kSegmentationHidden, c}),
                   wa = wide(heads.adaptorWeight).view({c, c}), ba = wide(heads.adaptorBias);

  const at::Tensor segScale = scaleOf(heads.segNorm);
  segScale_ = narrow(segScale);
  segShift_ = narrow((at::mv(w1, ba) + wide(heads.segBias) - wide(heads.segNorm.runningMean)) * segScale +
                     wide(heads.segNorm.bias));
  segOut_ = heads.segOut.view({-1}).clone();
  for (const at::Tensor& columns : geometry_.split(at::mm(w1, wa)))
    segmentation_.push_back(columns.t().to(precision).contiguous());

  const at::Tensor clsScale = scaleOf(heads.clsNorm), scale = clsScale.view({-1, 1, 1, 1});
  const at::Tensor weight = heads.clsWeight.slice(1, 0, c);
  at::Tensor bias = (wide(heads.clsBias) - wide(heads.clsNorm.runningMean)) * clsScale + wide(heads.clsNorm.bias);
  bias = bias.expand({geometry_.height() * geometry_.width(), kClassificationHidden});
  if (adaptedClassification) {
    const at::Tensor kernel = tapMajor(wide(weight) * scale);
    bias = bias + at::mm(wide(geometry_.insideTaps()), at::mv(kernel, ba).view({kTaps, kClassificationHidden}));
    for (const at::Tensor& columns : geometry_.split(at::mm(kernel, wa)))
      classification_.push_back(columns.t().to(precision).contiguous());
  } else {
    const at::Tensor rows =
        narrow(wide(weight) * scale).permute({1, 3, 2, 0}).reshape({c, kTaps * kClassificationHidden}).to(precision);
    for (const at::Tensor& columns : geometry_.split(rows.t())) classification_.push_back(columns.t());
  }
  classificationBias_ = narrow(bias).view({geometry_.height(), geometry_.width(), kClassificationHidden});
  mapTaps_ = narrow(wide(heads.clsWeight.slice(1, c, c + 1)) * scale)
                 .permute({3, 2, 0, 1})
                 .contiguous()
                 .view({kTaps, kClassificationHidden});
  fcWeight_ = heads.fcWeight.clone();
  fcBias_ = heads.fcBias.clone();
}

HeadsOutput FoldedHeads::operator()(const std::vector<at::Tensor>& layerMaps) const {
  if (!runsOnHost(layerMaps[0])) return withKernels(layerMaps);
  const int64_t n = layerMaps[0].size(0), h = geometry_.height(), w = geometry_.width();
  std::vector<at::Tensor> maps, pooled;
  for (int64_t i = 0; i < n; ++i) {  // image by image: the working set stays small
    throwIfCancelled();
    std::vector<at::Tensor> z, t;
    for (size_t l = 0; l < layerMaps.size(); ++l) {
      const auto& layer = geometry_.layers()[l];
      const at::Tensor x = layerMaps[l][i].permute({1, 2, 0}).reshape({layer.height * layer.width, layer.channels});
      z.push_back(at::mm(x, segmentation_[l]));
      t.push_back(at::mm(x, classification_[l]));
    }
    const at::Tensor map = segmentationLogits(geometry_.rows(), z, segScale_, segShift_, segOut_).view({1, 1, h, w});
    pooled.push_back(
        at::cat({pooledClassification(geometry_.tapRows(), t, classificationBias_, map, mapTaps_).view({1, -1}),
                 at::amax(map, {2, 3}), map.mean({2, 3})},
                1));
    maps.push_back(map);
  }
  return {at::cat(maps, 0), at::linear(at::cat(pooled, 0), fcWeight_, fcBias_).squeeze(1)};
}

}  // namespace ssn
