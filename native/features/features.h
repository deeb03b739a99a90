// From the backbone's layer maps to F: every map bilinearly upscaled to 2h x 2w (h x w = the largest map's size;
// without `upscale` to h x w, an ablation), concatenated, 3x3 average pooling with stride 1 and counted zero padding.
// docs/method.md, Features.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "backbone/resnet.h"

namespace ssn {

struct FeatureShape {
  int64_t channels, height, width;
};

FeatureShape featureShape(const std::vector<LayerShape>& layers, bool upscale);

// The plain way: layer maps (b x C_l x h_l x w_l) -> F (b x C x H x W).
at::Tensor pooledFeatures(const std::vector<at::Tensor>& layerMaps, bool alignCorners, bool upscale);

// Upscaling from `in` to `out` samples followed by 1-D average pooling, as an out x in matrix. Per channel
// F = U X V^T with U for the rows and V for the columns (docs/method.md, Low-resolution heads: both steps are separable
// and linear).
at::Tensor upscalePoolMatrix(int64_t in, int64_t out, bool alignCorners);

// The same matrix shifted for a tap of a 5x5 kernel: row y of the result is row y + shift, zero outside.
at::Tensor shiftedRows(const at::Tensor& matrix, int64_t shift);

}  // namespace ssn
