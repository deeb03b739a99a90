// The heads as inference runs them: at low resolution, with adaptor and batch norms folded into the wide convolutions.
// The same function as headsDirect(training = false) up to rounding.
#pragma once

#include "heads/direct.h"
#include "heads/low_resolution.h"

namespace ssn {

class FoldedHeads {
 public:
  FoldedHeads(const Heads& heads, bool adaptedClassification, const LowResolutionGeometry& geometry,
              at::ScalarType precision);

  // layerMaps: n x C_l x h_l x w_l of type `precision`, in which the wide products run; everything behind them is
  // float32.
  HeadsOutput operator()(const std::vector<at::Tensor>& layerMaps) const;

  // Bytes of its large tensors.
  int64_t bytes() const {
    int64_t out = bytesOf(classificationBias_);
    for (const at::Tensor& weight : segmentation_) out += bytesOf(weight);
    for (const at::Tensor& weight : classification_) out += bytesOf(weight);
    return out;
  }

 private:
  HeadsOutput withKernels(const std::vector<at::Tensor>& layerMaps) const;

  LowResolutionGeometry geometry_;
  std::vector<at::Tensor> segmentation_;     // C_l x 1024: (W1 Wa)_l transposed; `precision`
  at::Tensor segScale_, segShift_, segOut_;  // 1024
  std::vector<at::Tensor> classification_;   // C_l x (25 128), batch norm folded in; `precision`
  at::Tensor classificationBias_;            // H x W x 128
  at::Tensor mapTaps_;                       // (dx, dy) x 128: the map's channel of the convolution
  at::Tensor fcWeight_, fcBias_;
};

}  // namespace ssn
