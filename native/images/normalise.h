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

}  // namespace ssn
