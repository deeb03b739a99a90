// Pixel metrics of maps that come strip by strip and are not held (docs/method.md, Metrics). No libtorch.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "images/row_components.h"
#include "metrics/curves.h"
#include "metrics/ranking.h"

namespace ssn {

// How many normal scores there are between thresholds. A bucket holds the floats that agree in sign, exponent and the
// upper 13 bits of the mantissa; of it are known the number of scores, the highest and the lowest. 32 MiB, of which the
// system gives what is touched.
class NormalCounts {
 public:
  NormalCounts();
  void add(uint32_t rank) {
    uint64_t& bucket = buckets_[rank >> kLowBits];
    const uint64_t low = rank & kLowMask;
    if (bucket == 0) {
      bucket = uint64_t{1} << kCountShift | low << kLowBits | low;
      return;
    }
    const uint64_t first = bucket >> kLowBits & kLowMask, last = bucket & kLowMask;
    bucket = ((bucket >> kCountShift) + 1) << kCountShift | (low < first ? low : first) << kLowBits |
             (low > last ? low : last);
  }

  // The scores of one bucket: how many, and the ranks of the highest and the lowest.
  struct Bucket {
    uint64_t count;
    uint32_t first, last;
  };
  Bucket at(uint32_t bucket) const {
    const uint64_t value = buckets_[bucket];
    return {value >> kCountShift, bucket << kLowBits | static_cast<uint32_t>(value >> kLowBits & kLowMask),
            bucket << kLowBits | static_cast<uint32_t>(value & kLowMask)};
  }
  static uint32_t bucketOf(uint32_t rank) { return rank >> kLowBits; }

  static constexpr size_t kBytes = size_t{8} << 22;
  static constexpr uint64_t kMost = (uint64_t{1} << 44) - 1;  // in one bucket

 private:
  // A bucket: 44 bits count, then the low bits of the first and of the last rank.
  static constexpr int kLowBits = 10, kCountShift = 2 * kLowBits;
  static constexpr uint64_t kLowMask = (1 << kLowBits) - 1;
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
