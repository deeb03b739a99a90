#include "metrics/curves.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

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

// Every metric here changes at the scores of positives only: between them, normal items move the false-positive rate
// along a horizontal line. So the positives alone are sorted, and normal items are counted between them.
class Thresholds {
 public:
  // Payload k > 0 belongs to region k.
  explicit Thresholds(std::vector<RankedItem> positives) : positives_(std::move(positives)) {
    sortByScore(positives_);
    for (const RankedItem item : positives_)
      if (ranks_.empty() || ranks_.back() != rankOf(item)) ranks_.push_back(rankOf(item));
    before_.assign(ranks_.size() + 1, 0);
    equal_.assign(ranks_.size(), 0);
    if (ranks_.empty()) return;
    while ((ranks_.back() - ranks_.front()) >> shift_ >= kBuckets) ++shift_;
    size_t fullest = 0;
    for (size_t i = 0, bucket = 0; bucket < kBuckets; ++bucket) {
      start_.push_back(static_cast<uint32_t>(i));
      while (i < ranks_.size() && (ranks_[i] - ranks_.front()) >> shift_ == bucket) ++i;
      fullest = std::max(fullest, i - start_.back());
    }
    firstStride_ = std::bit_ceil(fullest);
    last_ = ranks_.back();
    ranks_.resize(ranks_.size() + 2 * firstStride_, std::numeric_limits<uint32_t>::max());
  }

  void addNormal(float score) {
    ++normals_;
    if (ranks_.empty()) return;
    const uint32_t rank = rankOf(rankedItem(score, 0));
    size_t i = 0;
    if (rank > last_) {
      i = before_.size() - 1;
    } else if (rank > ranks_.front()) {
      // The first rank that is not smaller. Always the same number of steps, none of them a jump: a processor cannot
      // guess where a score lies, and guessing wrongly would cost more than the steps.
      i = start_[(rank - ranks_.front()) >> shift_];
      for (size_t stride = firstStride_; stride > 0; stride /= 2) i += ranks_[i + stride - 1] < rank ? stride : 0;
    }
    if (ranks_[i] == rank)
      ++equal_[i];
    else
      ++before_[i];
  }

  // From the highest threshold on. The items of region k weigh regionWeight[k] = 1 / (area of the region * number of
  // regions) in the per-region overlap.
  PixelMetrics sweep(const std::vector<double>& regionWeight, double fprLimit) const {
    const double positives = static_cast<double>(positives_.size()), negatives = static_cast<double>(normals_);
    PixelMetrics out{{kNaN, kNaN, kNaN, kNaN}, kNaN, static_cast<int64_t>(regionWeight.size()) - 1};
    if (positives == 0 || negatives == 0) return out;

    double truePositives = 0, falsePositives = 0, overlap = 0;
    double rocArea = 0, precisionSum = 0, bestF1 = -1, bestThreshold = 0;
    LimitedArea overlapArea(fprLimit);
    for (size_t i = 0, group = 0; i < positives_.size(); ++group) {
      rocArea += static_cast<double>(before_[group]) * truePositives;
      falsePositives += static_cast<double>(before_[group]);
      overlapArea.add(falsePositives / negatives, overlap);
      const double threshold = scoreOf(positives_[i]), alarms = static_cast<double>(equal_[group]);
      double hits = 0;
      for (; i < positives_.size() && rankOf(positives_[i]) == ranks_[group]; ++i) {
        hits += 1;
        overlap += regionWeight[payloadOf(positives_[i])];
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
    rocArea += static_cast<double>(before_.back()) * truePositives;
    overlapArea.add(1, overlap);
    out.auroc = rocArea / (positives * negatives);
    out.averagePrecision = precisionSum / positives;
    out.f1Max = bestF1;
    out.f1Threshold = bestThreshold;
    out.aupro = overlapArea.area() / fprLimit;
    return out;
  }

 private:
  static constexpr uint32_t kBuckets = 1 << 18;  // between the first and the last rank: most hold one positive or none

  std::vector<RankedItem> positives_;     // descending scores
  std::vector<uint32_t> ranks_;           // the distinct ones, then some that are larger than any
  std::vector<uint32_t> start_;           // of each bucket, in ranks_
  std::vector<uint64_t> before_, equal_;  // normal items between the previous rank and this one, and at this one
  uint32_t shift_ = 0, last_ = 0;
  size_t firstStride_ = 0;  // the power of two not below the size of the fullest bucket
  uint64_t normals_ = 0;
};

}  // namespace

ImageMetrics imageMetrics(const float* scores, const uint8_t* labels, int64_t count) {
  std::vector<RankedItem> positives;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(scores[i]))
      throw Error("METRIC_UNDEFINED",
                  "score " + std::to_string(i) + " is " + described(scores[i]) + "; metrics need finite scores");
    if (labels[i] != 0) positives.push_back(rankedItem(scores[i], 1));
  }
  Thresholds thresholds(std::move(positives));
  for (int64_t i = 0; i < count; ++i)
    if (labels[i] == 0) thresholds.addNormal(scores[i]);
  return thresholds.sweep({0, 0}, /*fprLimit=*/1);
}

PixelMetrics pixelMetrics(const std::vector<LabelledMap>& maps, int64_t height, int64_t width, double fprLimit) {
  const int64_t pixels = height * width;
  std::vector<RankedItem> positives;
  std::vector<double> regionWeight{0};  // areas first
  std::vector<int32_t> labels(pixels);
  for (size_t m = 0; m < maps.size(); ++m) {
    throwIfCancelled();
    const LabelledMap& map = maps[m];
    const uint32_t offset = static_cast<uint32_t>(regionWeight.size() - 1);
    const int32_t count = labelComponents(map.mask.data(), height, width, labels.data());
    regionWeight.resize(regionWeight.size() + count, 0);
    for (int64_t i = 0; i < pixels; ++i) {
      const float value = map.map[i];
      if (!std::isfinite(value))
        throw Error("METRIC_UNDEFINED", "map " + std::to_string(m) + " is " + described(value) + " at row " +
                                            std::to_string(i / width) + ", column " + std::to_string(i % width) +
                                            "; metrics need finite maps");
      if (labels[i] == 0) continue;
      const uint32_t region = offset + static_cast<uint32_t>(labels[i]);
      regionWeight[region] += 1;
      positives.push_back(rankedItem(value, region));
    }
  }
  const double regions = static_cast<double>(regionWeight.size() - 1);
  for (size_t region = 1; region < regionWeight.size(); ++region)
    regionWeight[region] = 1 / (regionWeight[region] * regions);
  Thresholds thresholds(std::move(positives));
  for (const LabelledMap& map : maps) {
    throwIfCancelled();
    for (int64_t i = 0; i < pixels; ++i)
      if (map.mask[i] == 0) thresholds.addNormal(map.map[i]);
  }
  return thresholds.sweep(regionWeight, fprLimit);
}

}  // namespace ssn
