#include "heads/folded.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>

#include "cancel.h"
#include "heads/segmentation_rows.h"
#include "host_path.h"

namespace ssn {

FoldedHeads::FoldedHeads(const Heads& heads, bool adaptedClassification, const LowResolutionGeometry& geometry, at::ScalarType precision) : geometry_(geometry), rows_(geometry) {
  const int64_t c = heads.channels();
  // Folded in double, once.
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const auto narrow = [](const at::Tensor& t) { return t.to(at::kFloat).contiguous(); };
  const auto scaleOf = [&](const BatchNorm& norm) { return wide(norm.weight) / (wide(norm.runningVar) + kHeadsBatchNormEps).sqrt(); };
  const at::Tensor w1 = wide(heads.segWeight).view({kSegmentationHidden, c}), wa = wide(heads.adaptorWeight).view({c, c}), ba = wide(heads.adaptorBias);

  const at::Tensor segScale = scaleOf(heads.segNorm);
  segScale_ = narrow(segScale);
  segShift_ = narrow((at::mv(w1, ba) + wide(heads.segBias) - wide(heads.segNorm.runningMean)) * segScale + wide(heads.segNorm.bias));
  segOut_ = heads.segOut.view({-1}).contiguous();
  for (const at::Tensor& columns : geometry_.split(at::mm(w1, wa))) segmentation_.push_back(columns.t().to(precision).contiguous());

  const at::Tensor clsScale = scaleOf(heads.clsNorm);
  const at::Tensor weight = wide(heads.clsWeight) * clsScale.view({-1, 1, 1, 1});
  const at::Tensor kernel = tapMajor(weight.slice(1, 0, c));
  at::Tensor bias = (wide(heads.clsBias) - wide(heads.clsNorm.runningMean)) * clsScale + wide(heads.clsNorm.bias);
  bias = bias.expand({geometry_.height() * geometry_.width(), kClassificationHidden});
  if (adaptedClassification) bias = bias + at::mm(wide(geometry_.insideTaps()), at::mv(kernel, ba).view({kTaps, kClassificationHidden}));
  classificationBias_ = narrow(bias).view({geometry_.height(), geometry_.width(), kClassificationHidden});
  for (const at::Tensor& columns : geometry_.split(adaptedClassification ? at::mm(kernel, wa) : kernel)) classification_.push_back(columns.t().to(precision).contiguous());
  mapKernel_ = narrow(weight.slice(1, c, c + 1));
  mapTaps_ = mapKernel_.permute({3, 2, 0, 1}).contiguous().view({kTaps, kClassificationHidden});
  fcWeight_ = heads.fcWeight;
  fcBias_ = heads.fcBias;
}

// What follows the wide products, in libtorch's operations. z[l]: (h_l w_l) x 1024, t[l]: (h_l w_l) x (25 128).
FoldedHeads::Parts FoldedHeads::portable(std::vector<at::Tensor> z, std::vector<at::Tensor> t) const {
  const int64_t h = geometry_.height(), w = geometry_.width();
  for (size_t l = 0; l < z.size(); ++l) {
    const auto& tap = geometry_.taps()[l];
    z[l] = z[l].to(at::kFloat).view({1, tap.height, tap.width, kSegmentationHidden});
    t[l] = t[l].to(at::kFloat).view({1, tap.height, tap.width, kTaps * kClassificationHidden});
  }
  at::Tensor rows = at::empty({1, h, w, kSegmentationHidden}, z[0].options());
  geometry_.upscale(z, rows);
  const at::Tensor map = leakyLogits(rows.view({h * w, kSegmentationHidden}), segScale_, segShift_, segOut_).view({1, 1, h, w});
  at::Tensor linear = at::empty({1, h, w, kClassificationHidden}, z[0].options());
  geometry_.upscaleTaps(t, linear);
  at::Tensor x = linear.add_(classificationBias_).permute({0, 3, 1, 2});
  x = x.add_(at::conv2d(map, mapKernel_, {}, /*stride=*/1, /*padding=*/kTapSide / 2)).relu_();
  return {map, at::cat({at::amax(x, {2, 3}), x.mean({2, 3})}, 1)};
}

HeadsOutput FoldedHeads::operator()(const std::vector<at::Tensor>& taps) const {
  const int64_t n = taps[0].size(0), h = geometry_.height(), w = geometry_.width();
  std::vector<at::Tensor> maps, pooled;
  for (int64_t i = 0; i < n; ++i) {  // image by image: the working set stays small
    throwIfCancelled();
    std::vector<at::Tensor> z, t;
    for (size_t l = 0; l < taps.size(); ++l) {
      const auto& tap = geometry_.taps()[l];
      const at::Tensor x = taps[l][i].permute({1, 2, 0}).reshape({tap.height * tap.width, tap.channels});
      z.push_back(at::mm(x, segmentation_[l]));
      t.push_back(at::mm(x, classification_[l]));
    }
    Parts parts;
    if (hostPath(taps[0])) {
      const at::Tensor map = rows_.segmentationLogits(z, segScale_, segShift_, segOut_);
      parts = {map.view({1, 1, h, w}), rows_.classificationPool(t, classificationBias_, map, mapTaps_).view({1, -1})};
    } else {
      parts = portable(std::move(z), std::move(t));
    }
    pooled.push_back(at::cat({parts.pooled, at::amax(parts.map, {2, 3}), parts.map.mean({2, 3})}, 1));
    maps.push_back(parts.map);
  }
  return {at::cat(maps, 0), at::linear(at::cat(pooled, 0), fcWeight_, fcBias_).squeeze(1)};
}

}  // namespace ssn
