// Defect regions of an anomaly map. No libtorch.
#pragma once

#include <cstdint>
#include <vector>

namespace ssn {

struct Region {
  int64_t area;                 // pixels
  int64_t x, y, width, height;  // bounding box, pixels
  float peak;
  int64_t peakX, peakY;  // the first pixel in raster order that has the peak value
};

struct Regions {
  float peak;  // of the whole map; NaN if any pixel is
  std::vector<Region> regions;
};

// The 8-connected regions of pixels at or above `threshold` with at least `minArea` pixels, highest peak first (equal
// peaks in raster order). NaN belongs to no region.
Regions findRegions(const float* map, int64_t height, int64_t width, float threshold, int64_t minArea);

}  // namespace ssn
