#include "features/input.h"

#include <ATen/ops/empty.h>

#include "kernels/inference.h"
#include "kernels/run.h"

namespace ssn {

at::Tensor normalisedImages(const uint8_t* pixels, int64_t count, int64_t height, int64_t width) {
  at::Tensor out = at::empty({count, height, width, 3}, at::kFloat);
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < count * height * width; ++i)
    for (int c = 0; c < 3; ++c) to[3 * i + c] = normalised(pixels[3 * i + c], c);
  return out.permute({0, 3, 1, 2});
}

at::Tensor normalisedOn(const at::Tensor& pixels, at::ScalarType dtype) {
  at::Tensor out = at::empty(pixels.sizes(), pixels.options().dtype(dtype));
  withElement(dtype, [&](auto element) {
    using T = decltype(element);
    forEach(pixels.device(), pixels.numel(), kernels::Normalise<T>{pixels.data_ptr<uint8_t>(), out.data_ptr<T>()});
  });
  return out.permute({0, 3, 1, 2});
}

}  // namespace ssn
