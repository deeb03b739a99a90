// Upscaling, pooling, concatenation, adaptor and the first convolution of each head are linear, so the wide
// convolutions run on the small layer maps and only their few output channels are upscaled. The same function as
// heads/direct up to rounding.
//
//   1x1:  conv(F)    = sum_l U_l (W_l X_l) V_l^T
//   5x5:  conv(F)    = sum_l sum_(dy,dx) (S_dy U_l) (K_l[dy,dx] X_l) (S_dx V_l)^T,  S_d = shift by d - 2 rows, zero
//   outside
//
// Layout here is channels-last throughout: X_l is b x h_l x w_l x C_l, results are b x H x W x K.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "features/axis_map.h"
#include "features/features.h"
#include "heads/parameters.h"
#include "heads/row_upscale.h"

namespace ssn {

class LowResolutionGeometry {
 public:
  LowResolutionGeometry(const std::vector<LayerShape>& layers, bool alignCorners, bool upscale, at::Device device);

  // sum_l U_l Z_l V_l^T into `out` (b x H x W x K, contiguous). z[l]: b x h_l x w_l x K; on the CPU also bfloat16.
  void upscale(const std::vector<at::Tensor>& z, at::Tensor out) const { upscale(plain_, 1, z, std::move(out)); }
  // Its transpose: b x H x W x K -> one b x h_l x w_l x K per layer. `type`: of the result, on the CPU.
  std::vector<at::Tensor> upscaleAdjoint(const at::Tensor& gradient, at::ScalarType type) const {
    return upscaleAdjoint(plain_, 1, gradient, type);
  }

  // The 5x5 form. t[l]: b x h_l x w_l x (25 K), the 25 kernel taps in the order dx, dy (tapMajor below).
  void upscaleTaps(const std::vector<at::Tensor>& t, at::Tensor out) const {
    upscale(shifted_, kTapSide, t, std::move(out));
  }
  std::vector<at::Tensor> upscaleTapsAdjoint(const at::Tensor& gradient, at::ScalarType type) const {
    return upscaleAdjoint(shifted_, kTapSide, gradient, type);
  }

  // Columns of `matrix` (K x C) that belong to each layer.
  std::vector<at::Tensor> split(const at::Tensor& matrix) const;

  // (H W) x 25: 1 where tap (dx, dy) of the 5x5 convolution lies inside the map, 0 in the zero padding.
  const at::Tensor& insideTaps() const { return insideTaps_; }

  // Upscaling for kernels (native/kernels), where runsOnHost(device) does not hold: columns of each layer, then the
  // rows of all layers one below the other, `side` to each row of a layer. The shifted forms have side 5.
  struct Sparse {
    int64_t side, rows;  // rows: sum_l h_l side
    const DeviceAxisMap& map;
    const std::vector<DeviceAxisMap>& columns;
  };
  Sparse sparse(bool shifted) const;

  // The two forms row by row; on the CPU only.
  const RowUpscale& rows() const { return plain_.rows; }
  const RowUpscale& tapRows() const { return shifted_.rows; }

  int64_t height() const { return shape_.height; }
  int64_t width() const { return shape_.width; }
  const std::vector<LayerShape>& layers() const { return layers_; }

 private:
  std::vector<LayerShape> layers_;
  FeatureShape shape_;
  struct Form {
    RowUpscale rows;  // on the CPU
    // Elsewhere: H x (sum_l h_l s), all layers side by side, and per layer W x (w_l s). Dense for training, banded
    // for inference.
    at::Tensor denseRows;
    std::vector<at::Tensor> denseColumns;
    DeviceAxisMap bandedRows;
    std::vector<DeviceAxisMap> bandedColumns;
  };
  // s = side: 1 for 1x1, 5 for the shifted forms; rows are indexed (h, dy), columns (w, dx).
  Form form(const std::vector<at::Tensor>& rows, const std::vector<at::Tensor>& columns, int64_t side, int64_t channels,
            at::Device device) const;
  void upscale(const Form& form, int64_t side, const std::vector<at::Tensor>& z, at::Tensor out) const;
  std::vector<at::Tensor> upscaleAdjoint(const Form& form, int64_t side, const at::Tensor& gradient,
                                         at::ScalarType type) const;

  Form plain_, shifted_;
  at::Tensor insideTaps_;
};

// K x C x 5 x 5 -> (25 K) x C in the order dx, dy, k.
at::Tensor tapMajor(const at::Tensor& weight);
// The inverse, for gradients.
at::Tensor fromTapMajor(const at::Tensor& matrix, int64_t outputs);

}  // namespace ssn
