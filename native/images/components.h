// 8-connected components of a mask. Shared by the distance weight, AUPRO's defect regions and the detector's regions.
#pragma once

#include <cstdint>

namespace ssn {

// labels[i] = 0 outside, else the component's number from 1, in raster order of the components' first pixels.
// Returns the number of components. mask: height x width, non-zero is inside; at most 2^31 - 1 pixels.
int32_t labelComponents(const uint8_t* mask, int64_t height, int64_t width, int32_t* labels);

}  // namespace ssn
