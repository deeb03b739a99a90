// From the map logits to the anomaly map (docs/method.md, Inference): bilinear upscaling to the model's input size
// (align_corners=False), then Gaussian blur, sigma 4, kernel 25, reflect padding. Both are linear and separable, so the
// whole is R M C^T with one matrix per axis.
#pragma once

#include <ATen/core/Tensor.h>

namespace ssn {

// out x in: bilinear upscaling followed by the blur, for one axis.
at::Tensor upscaleBlurMatrix(int64_t in, int64_t out);

}  // namespace ssn
