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
#include "metrics/sweep.h"

namespace ssn {
namespace {

std::string described(float value) { return std::isnan(value) ? "NaN" : value > 0 ? "infinite" : "minus infinity"; }

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

  // The items of region k weigh regionWeight[k].
  PixelMetrics sweep(const std::vector<double>& regionWeight, int64_t regions, double fprLimit) const {
    uint64_t alarms = 0;
    return sweepThresholds(positives_, normals_, regionWeight, regions, fprLimit,
                           [&, group = size_t{0}](uint32_t) mutable {
                             const uint64_t above = alarms + before_[group];
                             alarms = above + equal_[group++];
                             return Alarms{above, alarms};
                           });
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
  return thresholds.sweep({0, 0}, /*regions=*/1, /*fprLimit=*/1);
}

void refuseNotFinite(float value, int64_t map, int64_t row, int64_t column) {
  throw Error("METRIC_UNDEFINED", "map " + std::to_string(map) + " is " + described(value) + " at row " +
                                      std::to_string(row) + ", column " + std::to_string(column) +
                                      "; metrics need finite maps");
}

PixelMetrics pixelMetrics(const std::vector<LabelledMap>& maps, int64_t height, int64_t width, double fprLimit) {
  const int64_t pixels = height * width;
  std::vector<RankedItem> positives;
  std::vector<double> regionWeight{0};  // areas first
  std::vector<int32_t> labels(pixels);
  for (size_t m = 0; m < maps.size(); ++m) {
    throwIfCancelled();
    const LabelledMap& map = maps[m];
    const float* values = map.map.data();
    const uint8_t* ignore = map.ignore.empty() ? nullptr : map.ignore.data();
    const uint32_t offset = static_cast<uint32_t>(regionWeight.size() - 1);
    const int32_t count = labelComponents(map.mask.data(), height, width, labels.data());
    regionWeight.resize(regionWeight.size() + count, 0);
    for (int64_t i = 0; i < pixels; ++i) {
      if (ignore != nullptr && ignore[i] != 0) continue;
      if (!std::isfinite(values[i])) refuseNotFinite(values[i], static_cast<int64_t>(m), i / width, i % width);
      if (labels[i] == 0) continue;
      const uint32_t region = offset + static_cast<uint32_t>(labels[i]);
      regionWeight[region] += 1;
      positives.push_back(rankedItem(values[i], region));
    }
  }
  const int64_t regions = std::count_if(regionWeight.begin(), regionWeight.end(), [](double area) { return area > 0; });
  for (double& weight : regionWeight) weight = weight > 0 ? 1 / (weight * static_cast<double>(regions)) : 0;
  Thresholds thresholds(std::move(positives));
  for (const LabelledMap& map : maps) {
    throwIfCancelled();
    const uint8_t* ignore = map.ignore.empty() ? nullptr : map.ignore.data();
    for (int64_t i = 0; i < pixels; ++i)
      if (map.mask[i] == 0 && (ignore == nullptr || ignore[i] == 0)) thresholds.addNormal(map.map[i]);
  }
  return thresholds.sweep(regionWeight, regions, fprLimit);
}

}  // namespace ssn
