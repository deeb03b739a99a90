// From RGB bytes to the backbone's input (spec section 1): ImageNet mean and standard deviation. No libtorch.
#pragma once

#include <cstdint>

namespace ssn {

inline constexpr float kImageNetMean[3] = {0.485f, 0.456f, 0.406f};
inline constexpr float kImageNetStd[3] = {0.229f, 0.224f, 0.225f};

// out[i] = (rgb[i] / 255 - mean) / std, interleaved as it came (NHWC). Divides like the reference, so bytes map to the same floats.
inline void normalise(const uint8_t* rgb, int64_t pixels, float* outNhwc) {
  for (int64_t i = 0; i < pixels; ++i)
    for (int c = 0; c < 3; ++c) outNhwc[3 * i + c] = (static_cast<float>(rgb[3 * i + c]) / 255.0f - kImageNetMean[c]) / kImageNetStd[c];
}

}  // namespace ssn
