#include "metrics/regions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "images/components.h"

namespace ssn {

namespace {

float highest(const float* map, int64_t pixels) {
  float peak = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < pixels; ++i) {
    if (std::isnan(map[i])) return map[i];
    peak = std::max(peak, map[i]);
  }
  return peak;
}

}  // namespace

Regions findRegions(const float* map, int64_t height, int64_t width, float threshold, int64_t minArea) {
  std::vector<uint8_t> mask(height * width);
  for (int64_t i = 0; i < height * width; ++i) mask[i] = map[i] >= threshold ? 1 : 0;
  std::vector<int32_t> labels(height * width);
  std::vector<Region> regions(labelComponents(mask.data(), height, width, labels.data()));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t i = y * width + x;
      if (labels[i] == 0) continue;
      Region& region = regions[labels[i] - 1];
      if (region.area == 0) {
        region = {0, x, y, 1, 1, map[i], x, y};
      } else if (map[i] > region.peak) {
        region.peak = map[i];
        region.peakX = x;
        region.peakY = y;
      }
      ++region.area;
      const int64_t right = std::max(region.x + region.width, x + 1);
      region.x = std::min(region.x, x);
      region.width = right - region.x;
      region.height = y - region.y + 1;
    }
  }
  std::erase_if(regions, [&](const Region& region) { return region.area < minArea; });
  std::stable_sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) { return a.peak > b.peak; });
  return {highest(map, height * width), std::move(regions)};
}

}  // namespace ssn
