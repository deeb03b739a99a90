#include "metrics/pixel_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <string>

#include "cancel.h"
#include "error.h"
#include "metrics/sweep.h"

namespace ssn {
namespace {

constexpr size_t kMostRegions = std::numeric_limits<uint32_t>::max();

// The least and the most alarms that each threshold can have, from what is known of the buckets (docs/method.md).
class AlarmBounds {
 public:
  AlarmBounds(const NormalCounts& normal, bool most) : normal_(normal), most_(most) {}

  Alarms operator()(uint32_t rank) {
    for (; bucket_ < NormalCounts::bucketOf(rank); ++bucket_) above_ += normal_.count(bucket_);
    const uint64_t count = normal_.count(bucket_);
    const auto [first, last] = normal_.endsAt(rank);
    if (count == 0 || rank < first) return {above_, above_};
    if (rank > last) return {above_ + count, above_ + count};
    // The first is at or above this score and the last at or below it; those between may be on either side.
    const uint64_t between = above_ + (most_ ? count - 1 : 1);
    return {rank == first ? above_ : between, rank == last ? above_ + count : between};
  }

 private:
  const NormalCounts& normal_;
  const bool most_;
  uint32_t bucket_ = 0;
  uint64_t above_ = 0;  // normal pixels in the buckets before this one, which have higher scores
};

}  // namespace

NormalCounts::NormalCounts() : buckets_(static_cast<uint64_t*>(std::calloc(kBytes / 8, 8))) {
  if (!buckets_) throw std::bad_alloc();
}

uint32_t PixelStatistics::root(uint32_t part) {
  while (parents_[part] != part) part = parents_[part] = parents_[parents_[part]];
  return part;
}

void PixelStatistics::addDefects(const float* row, const uint8_t* ignored, int64_t begin, int64_t end, uint32_t part) {
  for (int64_t x = begin; x < end; ++x)
    if (ignored == nullptr || ignored[x] == 0) defects_.push_back(rankedItem(row[x], part));
}

void PixelStatistics::addRows(const float* map, const uint8_t* mask, const uint8_t* ignore, int64_t width,
                              int64_t rows) {
  if (rows_ > 0 && width != width_) throw Error("INTERNAL", "metrics: the rows of an image have one width");
  if (normals_ + static_cast<uint64_t>(rows * width) > NormalCounts::kMost)
    throw Error("INTERNAL", "metrics: too many pixels");
  width_ = width;
  for (int64_t y = 0; y < rows; ++y, ++rows_) {
    throwIfCancelled();
    const float* row = map + y * width;
    const uint8_t* marked = mask == nullptr ? nullptr : mask + y * width;
    const uint8_t* ignored = ignore == nullptr ? nullptr : ignore + y * width;
    if (marked != nullptr && std::none_of(marked, marked + width, [](uint8_t m) { return m != 0; })) marked = nullptr;
    for (int64_t x = 0; x < width; ++x) {
      if (ignored != nullptr && ignored[x] != 0) continue;
      if (!std::isfinite(row[x])) refuseNotFinite(row[x], images_, rows_, x);
      if (marked != nullptr && marked[x] != 0) continue;
      normal_.add(rankOf(rankedItem(row[x], 0)));
      ++normals_;
    }
    components_.addRow(
        marked == nullptr ? 0 : width, [=](int64_t x) { return marked[x] != 0; },
        [&](int64_t begin, int64_t end) {
          if (parents_.size() + areas_.size() >= kMostRegions) throw Error("INTERNAL", "metrics: too many regions");
          const auto part = static_cast<uint32_t>(parents_.size());
          parents_.push_back(part);
          addDefects(row, ignored, begin, end, part);
          return part;
        },
        [&](uint32_t into, uint32_t from) { parents_[root(from)] = root(into); }, [](uint32_t) {});
  }
}

void PixelStatistics::endImage() {
  if (rows_ == 0) throw Error("INTERNAL", "metrics: an image without rows");
  throwIfCancelled();
  std::vector<uint32_t> regions(parents_.size(), 0);  // of the roots that have pixels
  for (size_t i = firstDefect_; i < defects_.size(); ++i) {
    uint32_t& region = regions[root(payloadOf(defects_[i]))];
    if (region == 0) {
      region = static_cast<uint32_t>(areas_.size());
      areas_.push_back(0);
    }
    areas_[region] += 1;
    defects_[i] = uint64_t{rankOf(defects_[i])} << 32 | region;
  }
  components_.end([](uint32_t) {});
  parents_ = {};
  firstDefect_ = defects_.size();
  rows_ = 0;
  ++images_;
}

BoundedPixelMetrics PixelStatistics::metrics(double fprLimit) {
  if (rows_ > 0) throw Error("INTERNAL", "metrics: an image has not ended");
  sortByScore(defects_);
  const auto regions = static_cast<int64_t>(areas_.size()) - 1;
  std::vector<double> weights(areas_);
  for (size_t region = 1; region < weights.size(); ++region)
    weights[region] = 1 / (weights[region] * static_cast<double>(regions));
  const auto sweep = [&](bool most) {
    throwIfCancelled();
    return sweepThresholds(defects_, normals_, weights, regions, fprLimit, AlarmBounds(normal_, most));
  };
  // More alarms make every metric smaller.
  const PixelMetrics low = sweep(/*most=*/true), high = sweep(/*most=*/false);
  const auto middle = [](double a, double b) { return (a + b) / 2; };
  return {{{middle(low.auroc, high.auroc), middle(low.averagePrecision, high.averagePrecision),
            middle(low.f1Max, high.f1Max), low.f1Threshold},
           middle(low.aupro, high.aupro),
           regions},
          {(high.auroc - low.auroc) / 2, (high.averagePrecision - low.averagePrecision) / 2,
           (high.f1Max - low.f1Max) / 2, (high.aupro - low.aupro) / 2}};
}

int64_t PixelStatistics::bytes() const {
  return static_cast<int64_t>(NormalCounts::kBytes + defects_.capacity() * sizeof(RankedItem) +
                              areas_.capacity() * sizeof(double) + parents_.capacity() * sizeof(uint32_t));
}

}  // namespace ssn
