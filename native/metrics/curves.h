// Threshold metrics of image scores and anomaly maps (docs/method.md, Metrics; paper section 4.1). Exact: every
// distinct score is a threshold, equal scores share one. No libtorch.
#pragma once

#include <cstdint>
#include <vector>

namespace ssn {

// Every field is NaN when only one class is present. AUROC: area under the ROC curve, ties counting one half.
// Average precision: sum over thresholds of (recall - previous recall) * precision, without interpolation.
// F1max: the largest F1 over thresholds and the highest threshold that reaches it; positive means score >= threshold.
struct ImageMetrics {
  double auroc, averagePrecision, f1Max, f1Threshold;
};

// labels: 0 normal, else anomalous. Throws METRIC_UNDEFINED for a score that is NaN or infinite.
ImageMetrics imageMetrics(const float* scores, const uint8_t* labels, int64_t count);

struct PixelMetrics : ImageMetrics {
  double aupro;
  int64_t regions;
};

struct LabelledMap {
  std::vector<float> map;     // height x width
  std::vector<uint8_t> mask;  // height x width, non-zero is defect
  // height x width, non-zero is neither defect nor normal; or empty. A region that is ignored as a whole does not
  // count.
  std::vector<uint8_t> ignore = {};
};

// Over all pixels of all maps. AUPRO: the mean over 8-connected defect regions of the share of the region at or above
// the threshold, against the false-positive rate over all normal pixels; area up to `fprLimit` (linear in between),
// divided by it. Takes some 20 bytes per defect pixel besides the maps.
PixelMetrics pixelMetrics(const std::vector<LabelledMap>& maps, int64_t height, int64_t width, double fprLimit);

// METRIC_UNDEFINED, for a pixel that is NaN or infinite.
[[noreturn]] void refuseNotFinite(float value, int64_t map, int64_t row, int64_t column);

}  // namespace ssn
