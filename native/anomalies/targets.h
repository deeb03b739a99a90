// Makes the training targets of one image from a mask at the image's own size (docs/method.md, Targets and distance
// weight). No libtorch.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "images/resize.h"

namespace ssn {

struct DistanceWeightOptions {
  float w;
  float p;
};

struct TargetOptions {
  int64_t imageHeight, imageWidth;  // the model's input
  int64_t featureHeight, featureWidth;
  bool alignCorners;  // of the mask's downsampling to feature size; the weight's is always true
  int64_t dilation;   // side of the square that dilates the mask first; 0 or 1 does not
  std::optional<DistanceWeightOptions> distanceWeight;  // absent: weight 1 everywhere
  std::vector<Flip> flips;
};

// featureHeight x featureWidth each; the mask is 0/1.
struct TrainingTarget {
  std::vector<float> mask;
  std::vector<float> weight;
};

// Dilation and distance weight at full resolution; then both to model size (mask nearest neighbour, weight bilinear),
// flipped, and to feature size (both bilinear; the mask is then < 0.5 -> 0, else 1). One target per flip. `ignored` is
// of the mask's size and may be null: what touches a pixel that is not 0 there has weight 0.
std::vector<TrainingTarget> trainingTargets(const uint8_t* mask, const uint8_t* ignored, int64_t height, int64_t width,
                                            const TargetOptions& options);

}  // namespace ssn
