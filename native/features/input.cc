#include "features/input.h"

#include <ATen/ops/empty.h>

#include "images/normalise.h"

namespace ssn {

at::Tensor normalisedImages(const uint8_t* pixels, int64_t count, int64_t height, int64_t width) {
  at::Tensor out = at::empty({count, height, width, 3}, at::kFloat);
  normalise(pixels, count * height * width, out.data_ptr<float>());
  return out.permute({0, 3, 1, 2});
}

}  // namespace ssn
