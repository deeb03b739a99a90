// What goes into the backbone (docs/method.md, Features).
#pragma once

#include <ATen/core/Tensor.h>

namespace ssn {

// count uint8 images of height x width x 3 -> count x 3 x height x width float, ImageNet-normalised, channels-last.
at::Tensor normalisedImages(const uint8_t* pixels, int64_t count, int64_t height, int64_t width);

// The same on the device that holds `pixels` (count x height x width x 3), as elements of `dtype`.
at::Tensor normalisedOn(const at::Tensor& pixels, at::ScalarType dtype);

}  // namespace ssn
