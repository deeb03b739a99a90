// What inference does behind the wide matrix products, on the CPU: upscaling and the rest of each head, output row by output
// row. A row is combined from its neighbours in the small maps, first down, then across, and reduced at once (to one logit per
// position; to maximum and mean), so that nothing of the size H x W x K is ever stored. The same function as
// LowResolutionGeometry::upscale and upscaleTaps followed by the rest of the head, up to rounding.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "heads/low_resolution.h"

namespace ssn {

class FoldedRows {
 public:
  FoldedRows() = default;
  explicit FoldedRows(const LowResolutionGeometry& geometry);

  // One image. z[l]: (h_l w_l) x 1024 -> H x W map logits: leaky(scale x + shift) . out at each position.
  // z and t are float32 or bfloat16, contiguous.
  at::Tensor segmentationLogits(const std::vector<at::Tensor>& z, const at::Tensor& scale, const at::Tensor& shift, const at::Tensor& out) const;

  // t[l]: (h_l w_l) x (25 128), taps in the order dx, dy; bias: H x W x 128; map: H x W; mapKernel: (dx, dy) x 128.
  // -> 256: maximum and mean over all positions of relu(conv(features) + conv(map) + bias).
  at::Tensor classificationPool(const std::vector<at::Tensor>& t, const at::Tensor& bias, const at::Tensor& map, const at::Tensor& mapKernel) const;

 private:
  // Weighted terms of each output, as offsets into a buffer of floats.
  struct Terms {
    std::vector<int64_t> begin, offset;
    std::vector<float> weight;
  };
  struct Form {
    int64_t side, channels;       // 1, 1024; 5, 128
    std::vector<Terms> down;      // per tap: of the H output rows, offsets into the tap's product
    std::vector<int64_t> pieces;  // per tap: how many runs of `channels` a combined row has: w_l side
    int64_t rowFloats = 0;        // of all taps' combined rows, one behind the other
    Terms across;                 // of the W output columns, offsets into them
  };
  static Form form(const LowResolutionGeometry& geometry, int64_t side, int64_t channels);
  static void combineDown(const Form& form, const std::vector<at::Tensor>& product, int64_t y, float* row);

  int64_t height_ = 0, width_ = 0;
  Form segmentation_, classification_;
};

}  // namespace ssn
