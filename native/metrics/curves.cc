#include "metrics/curves.h"

#include <cmath>
#include <limits>
#include <string>

#include "cancel.h"
#include "error.h"
#include "images/components.h"
#include "metrics/ranking.h"

namespace ssn {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::string described(float value) { return std::isnan(value) ? "NaN" : value > 0 ? "infinite" : "minus infinity"; }

// The area under the piecewise linear curve through (0, 0) and the points added, up to a limit on x.
class LimitedArea {
 public:
  explicit LimitedArea(double limit) : limit_(limit) {}
  void add(double x, double y) {
    if (x_ < limit_) {
      const double end = x <= limit_ ? x : limit_;
      const double endY = x <= limit_ ? y : y_ + (y - y_) * (limit_ - x_) / (x - x_);
      area_ += (end - x_) * (y_ + endY) / 2;
    }
    x_ = x;
    y_ = y;
  }
  double area() const { return area_; }

 private:
  double limit_, x_ = 0, y_ = 0, area_ = 0;
};

// One pass over the thresholds, from the highest. Payload 0 is normal; payload k > 0 belongs to region k, whose items
// weigh regionWeight[k] = 1 / (area of the region * number of regions) in the per-region overlap.
PixelMetrics sweep(const std::vector<RankedItem>& items, const std::vector<double>& regionWeight, double fprLimit) {
  double positives = 0;
  for (const RankedItem item : items) positives += payloadOf(item) != 0 ? 1 : 0;
  const double negatives = static_cast<double>(items.size()) - positives;
  PixelMetrics out{{kNaN, kNaN, kNaN, kNaN}, kNaN, static_cast<int64_t>(regionWeight.size()) - 1};
  if (positives == 0 || negatives == 0) return out;

  double truePositives = 0, falsePositives = 0, overlap = 0;
  double rocArea = 0, precisionSum = 0, bestF1 = -1, bestThreshold = 0;
  LimitedArea overlapArea(fprLimit);
  for (size_t i = 0; i < items.size();) {
    const uint32_t rank = rankOf(items[i]);
    const double threshold = scoreOf(items[i]);
    double hits = 0, alarms = 0;
    for (; i < items.size() && rankOf(items[i]) == rank; ++i) {
      const uint32_t region = payloadOf(items[i]);
      (region != 0 ? hits : alarms) += 1;
      overlap += regionWeight[region];
    }
    rocArea += alarms * (truePositives + hits / 2);
    truePositives += hits;
    falsePositives += alarms;
    precisionSum += hits * (truePositives / (truePositives + falsePositives));
    const double f1 = 2 * truePositives / (truePositives + falsePositives + positives);
    if (f1 > bestF1) {
      bestF1 = f1;
      bestThreshold = threshold;
    }
    overlapArea.add(falsePositives / negatives, overlap);
  }
  out.auroc = rocArea / (positives * negatives);
  out.averagePrecision = precisionSum / positives;
  out.f1Max = bestF1;
  out.f1Threshold = bestThreshold;
  out.aupro = overlapArea.area() / fprLimit;
  return out;
}

}  // namespace

ImageMetrics imageMetrics(const float* scores, const uint8_t* labels, int64_t count) {
  std::vector<RankedItem> items(count);
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(scores[i])) throw Error("METRIC_UNDEFINED", "score " + std::to_string(i) + " is " + described(scores[i]) + "; metrics need finite scores");
    items[i] = rankedItem(scores[i], labels[i] != 0 ? 1 : 0);
  }
  sortByScore(items);
  return sweep(items, {0, 0}, /*fprLimit=*/1);
}

PixelMetrics pixelMetrics(std::vector<LabelledMap> maps, int64_t height, int64_t width, double fprLimit) {
  const int64_t pixels = height * width;
  std::vector<RankedItem> items;
  items.reserve(maps.size() * pixels);
  std::vector<double> regionWeight{0};  // areas first
  std::vector<int32_t> labels(pixels);
  for (size_t m = 0; m < maps.size(); ++m) {
    throwIfCancelled();
    const LabelledMap map = std::move(maps[m]);
    const uint32_t offset = static_cast<uint32_t>(regionWeight.size() - 1);
    const int32_t count = labelComponents(map.mask.data(), height, width, labels.data());
    regionWeight.resize(regionWeight.size() + count, 0);
    for (int64_t i = 0; i < pixels; ++i) {
      const float value = map.map[i];
      if (!std::isfinite(value))
        throw Error("METRIC_UNDEFINED", "map " + std::to_string(m) + " is " + described(value) + " at row " + std::to_string(i / width) + ", column " +
                                            std::to_string(i % width) + "; metrics need finite maps");
      const uint32_t region = labels[i] != 0 ? offset + static_cast<uint32_t>(labels[i]) : 0;
      regionWeight[region] += region != 0 ? 1 : 0;
      items.push_back(rankedItem(value, region));
    }
  }
  const double regions = static_cast<double>(regionWeight.size() - 1);
  for (size_t region = 1; region < regionWeight.size(); ++region) regionWeight[region] = 1 / (regionWeight[region] * regions);
  sortByScore(items);
  return sweep(items, regionWeight, fprLimit);
}

}  // namespace ssn
