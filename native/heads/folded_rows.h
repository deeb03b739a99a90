// What inference does behind the wide matrix products, on the CPU: upscaling and the rest of each head, output row by
// output row, each reduced at once (to one logit per position; to maximum and mean), so that nothing of the size H x W
// x K is ever stored. The same function as LowResolutionGeometry::upscale and upscaleTaps followed by the rest of the
// head, up to rounding.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "heads/row_upscale.h"

namespace ssn {

// One image. z[l]: h_l x w_l x 1024 -> H x W map logits: leaky(scale x + shift) . out at each position. z and t are
// float32 or bfloat16, contiguous.
at::Tensor segmentationLogits(const RowUpscale& upscale, const std::vector<at::Tensor>& z, const at::Tensor& scale,
                              const at::Tensor& shift, const at::Tensor& out);

// t[l]: h_l x w_l x (25 128), taps in the order dx, dy; bias: H x W x 128; map: H x W; mapKernel: (dx, dy) x 128.
// -> 256: maximum and mean over all positions of relu(conv(features) + conv(map) + bias).
at::Tensor pooledClassification(const RowUpscale& upscale, const std::vector<at::Tensor>& t, const at::Tensor& bias,
                                const at::Tensor& map, const at::Tensor& mapKernel);

}  // namespace ssn
