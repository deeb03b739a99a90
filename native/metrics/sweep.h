// All threshold metrics from the ranked positives and the counts of normal items between them. No libtorch.
#pragma once

#include <limits>
#include <vector>

#include "metrics/curves.h"
#include "metrics/ranking.h"

namespace ssn {

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

// How many normal items lie above a score, and how many at or above it.
struct Alarms {
  uint64_t above, notBelow;
};

// From the highest threshold on. `positives`: sorted by score. alarmsAt(rank): called once for each distinct rank, in
// ascending order. The items of region k (their payload) weigh regionWeight[k] = 1 / (area of the region * number of
// regions) in the per-region overlap.
template <class AlarmsAt>
PixelMetrics sweepThresholds(const std::vector<RankedItem>& sorted, uint64_t normals,
                             const std::vector<double>& regionWeight, int64_t regions, double fprLimit,
                             AlarmsAt&& alarmsAt) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  const double positives = static_cast<double>(sorted.size()), negatives = static_cast<double>(normals);
  PixelMetrics out{{kNaN, kNaN, kNaN, kNaN}, kNaN, regions};
  if (positives == 0 || negatives == 0) return out;

  double truePositives = 0, falsePositives = 0, overlap = 0;
  double rocArea = 0, precisionSum = 0, bestF1 = -1, bestThreshold = 0;
  LimitedArea overlapArea(fprLimit);
  for (size_t i = 0; i < sorted.size();) {
    const uint32_t rank = rankOf(sorted[i]);
    const Alarms alarms = alarmsAt(rank);
    const double above = static_cast<double>(alarms.above), notBelow = static_cast<double>(alarms.notBelow);
    rocArea += (above - falsePositives) * truePositives;
    overlapArea.add(above / negatives, overlap);
    double hits = 0;
    for (; i < sorted.size() && rankOf(sorted[i]) == rank; ++i) {
      hits += 1;
      overlap += regionWeight[payloadOf(sorted[i])];
    }
    rocArea += (notBelow - above) * (truePositives + hits / 2);
    truePositives += hits;
    falsePositives = notBelow;
    precisionSum += hits * (truePositives / (truePositives + falsePositives));
    const double f1 = 2 * truePositives / (truePositives + falsePositives + positives);
    if (f1 > bestF1) {
      bestF1 = f1;
      bestThreshold = scoreOf(sorted[i - 1]);
    }
    overlapArea.add(falsePositives / negatives, overlap);
  }
  rocArea += (negatives - falsePositives) * truePositives;
  overlapArea.add(1, overlap);
  out.auroc = rocArea / (positives * negatives);
  out.averagePrecision = precisionSum / positives;
  out.f1Max = bestF1;
  out.f1Threshold = bestThreshold;
  out.aupro = overlapArea.area() / fprLimit;
  return out;
}

}  // namespace ssn
