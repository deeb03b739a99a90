// Weight of the segmentation losses inside annotated defects (docs/method.md, Targets and distance weight; paper
// section 3.4, taken over from SegDecNet): per 8-connected component, w * (d / max d)^p with d the Euclidean distance
// to the nearest pixel outside; 1 outside the defects. No libtorch.
#pragma once

#include <cstdint>

namespace ssn {

// mask: height x width, non-zero is defect. out: height x width. Exact distances. The border of the image is not
// outside: a mask that covers the whole image has no distance anywhere and gets weight w.
void distanceWeight(const uint8_t* mask, int64_t height, int64_t width, float w, float p, float* out);

// Dilation by a square of side `size` whose origin is pixel size / 2 (OpenCV's convention); the result is 0/1.
void dilate(const uint8_t* mask, int64_t height, int64_t width, int64_t size, uint8_t* out);

}  // namespace ssn
