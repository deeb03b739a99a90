// Defect regions of an anomaly map. No libtorch.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "images/row_components.h"

namespace ssn {

struct Region {
  int64_t area;                 // pixels
  int64_t x, y, width, height;  // bounding box, pixels
  float peak;
  int64_t peakX, peakY;  // the first pixel in raster order that has the peak value
};

struct Regions {
  float peak;  // of the whole map; NaN if any pixel is; minus infinity without pixels
  std::vector<Region> regions;
};

// The 8-connected regions of pixels at or above a threshold with at least `minArea` pixels, highest peak first (equal
// peaks in raster order), for several thresholds at once. NaN belongs to no region. The map comes in strips of rows
// from top to bottom; what is kept of it are two rows of runs, the regions that are open there, and the found ones.
class RegionFinder {
 public:
  RegionFinder(int64_t width, const std::vector<float>& thresholds, int64_t minArea);
  // map: rows x width. ignore: the same, or null; pixels that are not 0 there belong to no region and to no peak.
  void addRows(const float* map, const uint8_t* ignore, int64_t rows);
  int64_t width() const { return width_; }
  // By threshold. Nothing may be called afterwards.
  std::vector<Regions> finish();

 private:
  struct Found : Region {
    int64_t firstX;  // of the first pixel in raster order, which is in row y
  };
  struct Level {
    float threshold;
    RowComponents<Found> components;
    std::vector<Found> found;
  };

  static void merge(Found& into, const Found& from);
  void addRow(const float* row, float highest);
  void keep(Level& level, const Found& region);

  int64_t width_, minArea_, y_ = 0;
  float peak_ = -std::numeric_limits<float>::infinity();
  std::vector<Level> levels_;
  std::vector<float> kept_;  // a row in which ignored pixels are NaN
};

Regions findRegions(const float* map, int64_t height, int64_t width, float threshold, int64_t minArea);

}  // namespace ssn
