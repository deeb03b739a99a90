// Upscaling, pooling, concatenation, adaptor and the first convolution of each head are linear, so the wide
// convolutions run on the small taps and only their few output channels are upscaled. The same function as
// heads/direct up to rounding.
//
//   1x1:  conv(F)    = sum_l U_l (W_l X_l) V_l^T
//   5x5:  conv(F)    = sum_l sum_(dy,dx) (S_dy U_l) (K_l[dy,dx] X_l) (S_dx V_l)^T,  S_d = shift by d - 2 rows, zero outside
//
// Layout here is channels-last throughout: X_l is b x h_l x w_l x C_l, results are b x H x W x K.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "features/axis_map.h"
#include "features/features.h"
#include "heads/parameters.h"

namespace ssn {

class LowResolutionGeometry {
 public:
  LowResolutionGeometry(const std::vector<TapShape>& taps, bool alignCorners, at::Device device);

  // sum_l U_l Z_l V_l^T into `out` (b x H x W x K, contiguous). z[l]: b x h_l x w_l x K.
  void upscale(const std::vector<at::Tensor>& z, at::Tensor out) const;
  // Its transpose: b x H x W x K -> one b x h_l x w_l x K per tap.
  std::vector<at::Tensor> upscaleAdjoint(const at::Tensor& gradient) const;

  // The 5x5 form. t[l]: b x h_l x w_l x (25 K), the 25 taps in the order dx, dy (tapMajor below).
  at::Tensor upscaleTaps(const std::vector<at::Tensor>& t) const;
  std::vector<at::Tensor> upscaleTapsAdjoint(const at::Tensor& gradient) const;

  // Columns of `matrix` (K x C) that belong to each tap.
  std::vector<at::Tensor> split(const at::Tensor& matrix) const;

  // (H W) x 25: 1 where tap (dx, dy) of the 5x5 convolution lies inside the map, 0 in the zero padding.
  const at::Tensor& insideTaps() const { return insideTaps_; }

  int64_t height() const { return shape_.height; }
  int64_t width() const { return shape_.width; }
  const std::vector<TapShape>& taps() const { return taps_; }

 private:
  std::vector<TapShape> taps_;
  FeatureShape shape_;
  int64_t rowCount_ = 0;              // sum_l h_l
  AxisMap rows_;                      // H x (sum_l h_l): all U_l side by side
  std::vector<AxisMap> columns_;      // W x w_l
  AxisMap tapRows_;                   // H x (sum_l h_l 5), index (h, dy)
  std::vector<AxisMap> tapColumns_;   // W x (w_l 5), index (w, dx)
  at::Tensor insideTaps_;
};

// K x C x 5 x 5 -> (25 K) x C in the order dx, dy, k.
at::Tensor tapMajor(const at::Tensor& weight);
// The inverse, for gradients.
at::Tensor fromTapMajor(const at::Tensor& matrix, int64_t outputs);

}  // namespace ssn
