// From RGB bytes to the backbone's input (docs/method.md, Features): ImageNet mean and standard deviation. No libtorch.
#pragma once

#include <cstdint>

#include "kernels/side.h"

namespace ssn {

// (byte / 255 - mean) / std of colour c. Divides like the reference, so bytes map to the same floats.
SSN_KERNEL float normalised(uint8_t byte, int c) {
  const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  return (static_cast<float>(byte) / 255.0f - mean[c]) / std[c];
}

// Interleaved as it came (NHWC).
inline void normalise(const uint8_t* rgb, int64_t pixels, float* outNhwc) {
  for (int64_t i = 0; i < pixels; ++i)
    for (int c = 0; c < 3; ++c) outNhwc[3 * i + c] = normalised(rgb[3 * i + c], c);
}

}  // namespace ssn
