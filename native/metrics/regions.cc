#include "metrics/regions.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "cancel.h"

namespace ssn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Highest {
  float value;  // but for NaN
  bool nan;
};

// In lanes, so that the compiler makes vectors of it.
Highest highestOf(const float* row, int64_t width) {
  constexpr int kLanes = 16;
  float highest[kLanes];
  uint32_t odd[kLanes] = {};
  std::fill_n(highest, kLanes, -kInfinity);
  int64_t x = 0;
  for (; x + kLanes <= width; x += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = row[x + lane];
      highest[lane] = value > highest[lane] ? value : highest[lane];
      odd[lane] |= value != value ? 1 : 0;
    }
  }
  for (; x < width; ++x) {
    highest[0] = row[x] > highest[0] ? row[x] : highest[0];
    odd[0] |= std::isnan(row[x]) ? 1 : 0;
  }
  return {*std::max_element(highest, highest + kLanes), std::any_of(odd, odd + kLanes, [](uint32_t o) { return o; })};
}

}  // namespace

RegionFinder::RegionFinder(int64_t width, const std::vector<float>& thresholds, int64_t minArea)
    : width_(width), minArea_(minArea) {
  for (const float threshold : thresholds) levels_.push_back({threshold, {}, {}});
}

void RegionFinder::merge(Found& into, const Found& from) {
  if (std::tie(from.y, from.firstX) < std::tie(into.y, into.firstX)) into.firstX = from.firstX;
  if (from.peak > into.peak ||
      (from.peak == into.peak && std::tie(from.peakY, from.peakX) < std::tie(into.peakY, into.peakX))) {
    into.peak = from.peak;
    into.peakX = from.peakX;
    into.peakY = from.peakY;
  }
  const int64_t right = std::max(into.x + into.width, from.x + from.width);
  const int64_t bottom = std::max(into.y + into.height, from.y + from.height);
  into.x = std::min(into.x, from.x);
  into.y = std::min(into.y, from.y);
  into.width = right - into.x;
  into.height = bottom - into.y;
  into.area += from.area;
}

void RegionFinder::keep(Level& level, const Found& region) {
  if (region.area >= minArea_) level.found.push_back(region);
}

void RegionFinder::addRow(const float* row, float highest) {
  for (Level& level : levels_) {
    const float threshold = level.threshold;
    level.components.addRow(
        highest >= threshold ? width_ : 0, [=](int64_t x) { return row[x] >= threshold; },
        [&](int64_t begin, int64_t end) {
          int64_t peak = begin;
          for (int64_t x = begin + 1; x < end; ++x) peak = row[x] > row[peak] ? x : peak;
          return Found{{end - begin, begin, y_, end - begin, 1, row[peak], peak, y_}, begin};
        },
        merge, [&](const Found& region) { keep(level, region); });
  }
  ++y_;
}

void RegionFinder::addRows(const float* map, const uint8_t* ignore, int64_t rows) {
  for (int64_t y = 0; y < rows; ++y) {
    throwIfCancelled();
    const float* row = map + y * width_;
    bool nan = false;
    if (ignore != nullptr) {
      kept_.resize(width_);
      const uint8_t* ignored = ignore + y * width_;
      for (int64_t x = 0; x < width_; ++x) {
        nan = nan || (ignored[x] == 0 && std::isnan(row[x]));
        kept_[x] = ignored[x] == 0 ? row[x] : std::numeric_limits<float>::quiet_NaN();
      }
      row = kept_.data();
    }
    const Highest highest = highestOf(row, width_);
    if (nan || (ignore == nullptr && highest.nan)) peak_ = std::numeric_limits<float>::quiet_NaN();
    // The first one in raster order, for the sign of a zero.
    if (highest.value > peak_) peak_ = highest.value == 0 ? *std::find(row, row + width_, 0.0f) : highest.value;
    addRow(row, highest.value);
  }
}

std::vector<Regions> RegionFinder::finish() {
  std::vector<Regions> out;
  for (Level& level : levels_) {
    throwIfCancelled();
    level.components.end([&](const Found& region) { keep(level, region); });
    std::vector<Found>& found = level.found;
    std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
      return a.peak != b.peak ? a.peak > b.peak : std::tie(a.y, a.firstX) < std::tie(b.y, b.firstX);
    });
    out.push_back({peak_, {found.begin(), found.end()}});
    found = {};
  }
  return out;
}

Regions findRegions(const float* map, int64_t height, int64_t width, float threshold, int64_t minArea) {
  RegionFinder finder(width, {threshold}, minArea);
  finder.addRows(map, /*ignore=*/nullptr, height);
  return std::move(finder.finish().front());
}

}  // namespace ssn
