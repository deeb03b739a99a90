// Pixel metrics of maps that come strip by strip and are not held (docs/method.md, Metrics). No libtorch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "images/row_components.h"
#include "metrics/curves.h"
#include "metrics/ranking.h"

namespace ssn {

struct BucketsOfExponent {
  uint32_t first, lowBits;  // the first bucket, and the bits of a rank that its bucket does not tell
};

// By the upper 9 bits of a rank. Below 256 are the positive scores, the largest first.
inline constexpr std::array<BucketsOfExponent, 512> kBuckets = [] {
  std::array<BucketsOfExponent, 512> all{};
  for (int i = 0; i < 512; ++i) {
    const int power = (i < 256 ? 255 - i : i - 256) - 127;
    const uint32_t first = i == 0 ? 0 : all[i - 1].first + (1u << (23 - all[i - 1].lowBits));
    all[i] = {first, power >= -16 && power < 16 ? 7u : 10u};
  }
  return all;
}();

// How many normal scores there are between thresholds. A bucket holds the floats that agree in sign, exponent and the
// upper bits of the mantissa: 16 bits from 2^-16 to 2^16, where scores are, and 13 bits elsewhere. Of a bucket are
// known the number of scores, the highest and the lowest.
class NormalCounts {
 public:
  NormalCounts();
  void add(uint32_t rank) {
    uint64_t& bucket = buckets_[bucketOf(rank)];
    const uint64_t low = rank & lowMask(rank);
    if (bucket == 0) {
      bucket = uint64_t{1} << kCountShift | low << kLowBits | low;
      return;
    }
    const uint64_t first = firstLow(bucket), last = lastLow(bucket);
    bucket = (countOf(bucket) + 1) << kCountShift | (low < first ? low : first) << kLowBits | (low > last ? low : last);
  }

  // The ranks of a bucket's highest and lowest score.
  struct Ends {
    uint32_t first, last;
  };
  Ends endsAt(uint32_t rank) const {
    const uint64_t bucket = buckets_[bucketOf(rank)];
    const uint32_t start = rank & ~lowMask(rank);
    return {start | firstLow(bucket), start | lastLow(bucket)};
  }
  uint64_t count(uint32_t bucket) const { return countOf(buckets_[bucket]); }
  // In ascending order of ranks.
  static uint32_t bucketOf(uint32_t rank) {
    const BucketsOfExponent& of = kBuckets[rank >> 23];
    return of.first + ((rank & ((1u << 23) - 1)) >> of.lowBits);
  }

  static constexpr uint64_t kMost = (uint64_t{1} << 44) - 1;  // scores in one bucket
  // 60 MiB, of which the system gives the pages that are touched.
  static constexpr std::size_t kBytes = sizeof(uint64_t) * (std::size_t{kBuckets[511].first} + (1 << 13));

 private:
  // A bucket: 44 bits count, then the low bits of the first and of the last rank.
  static constexpr int kLowBits = 10, kCountShift = 2 * kLowBits;
  static uint64_t countOf(uint64_t bucket) { return bucket >> kCountShift; }
  static uint32_t lowMask(uint32_t rank) { return (1u << kBuckets[rank >> 23].lowBits) - 1; }
  static uint32_t firstLow(uint64_t bucket) { return bucket >> kLowBits & ((1 << kLowBits) - 1); }
  static uint32_t lastLow(uint64_t bucket) { return bucket & ((1 << kLowBits) - 1); }

  struct Free {
    void operator()(uint64_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint64_t[], Free> buckets_;
};

// The true value of each metric, as pixelMetrics computes it from the same pixels, differs from the one given by at
// most this much (but for rounding). NaN where the metric is.
struct MetricErrors {
  double auroc, averagePrecision, f1Max, aupro;
};

struct BoundedPixelMetrics {
  PixelMetrics metrics;
  MetricErrors errorBound;
};

// Images of any sizes, one after the other. Defect pixels are kept (8 bytes each, twice that while they are sorted),
// normal pixels are counted. Ignored pixels are neither; a region of the mask that is ignored as a whole does not
// count.
class PixelStatistics {
 public:
  // The next rows of an image. map, mask, ignore: rows x width; mask and ignore may be null, which is 0 everywhere.
  // Throws METRIC_UNDEFINED for a pixel that counts and is NaN or infinite.
  void addRows(const float* map, const uint8_t* mask, const uint8_t* ignore, int64_t width, int64_t rows);
  void endImage();
  // Of the images so far: more may follow. Throws INTERNAL within an image.
  BoundedPixelMetrics metrics(double fprLimit);
  int64_t bytes() const;

 private:
  uint32_t root(uint32_t part);
  void addDefects(const float* row, const uint8_t* ignored, int64_t begin, int64_t end, uint32_t part);

  NormalCounts normal_;
  uint64_t normals_ = 0;
  std::vector<RankedItem> defects_;  // payload: the region, from 1; in the current image: a part of one
  std::vector<double> areas_ = {0};  // of the regions, without ignored pixels
  // The current image. Its parts are runs of a row, which join to regions.
  int64_t images_ = 0, width_ = 0, rows_ = 0;
  size_t firstDefect_ = 0;
  std::vector<uint32_t> parents_;
  RowComponents<uint32_t> components_;
};

}  // namespace ssn
