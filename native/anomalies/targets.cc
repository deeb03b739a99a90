#include "anomalies/targets.h"

#include "anomalies/distance_weight.h"

namespace ssn {

namespace {

// 1 in every feature cell that an ignored pixel lies in, as shares of an axis go.
std::vector<float> ignoredCells(const uint8_t* ignored, int64_t height, int64_t width, Flip flip,
                                const TargetOptions& options) {
  std::vector<uint8_t> flipped(height * width);
  flipImage(ignored, height, width, /*channels=*/1, flip, flipped.data());
  std::vector<float> cells(options.featureHeight * options.featureWidth);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      if (flipped[y * width + x] != 0)
        cells[y * options.featureHeight / height * options.featureWidth + x * options.featureWidth / width] = 1.0f;
  return cells;
}

}  // namespace

std::vector<TrainingTarget> trainingTargets(const uint8_t* mask, const uint8_t* ignored, int64_t height, int64_t width,
                                            const TargetOptions& options) {
  const int64_t imagePixels = options.imageHeight * options.imageWidth;
  const int64_t featurePixels = options.featureHeight * options.featureWidth;

  std::vector<uint8_t> dilated(height * width);
  dilate(mask, height, width, options.dilation, dilated.data());
  std::vector<uint8_t> imageMask(imagePixels);
  resizeImage(dilated.data(), height, width, /*channels=*/1, imageMask.data(), options.imageHeight, options.imageWidth,
              ResizeMethod::nearest);
  const std::vector<float> mask32(imageMask.begin(), imageMask.end());

  std::vector<float> weight(imagePixels, 1.0f);
  if (options.distanceWeight) {
    std::vector<float> full(height * width);
    distanceWeight(dilated.data(), height, width, options.distanceWeight->w, options.distanceWeight->p, full.data());
    resizeMap(full.data(), height, width, weight.data(), options.imageHeight, options.imageWidth,
              /*alignCorners=*/false);
  }

  std::vector<TrainingTarget> targets;
  std::vector<float> flipped(imagePixels);
  const auto toFeatures = [&](const std::vector<float>& map, Flip flip, bool alignCorners) {
    std::vector<float> out(featurePixels);
    flipImage(map.data(), options.imageHeight, options.imageWidth, /*channels=*/1, flip, flipped.data());
    resizeMap(flipped.data(), options.imageHeight, options.imageWidth, out.data(), options.featureHeight,
              options.featureWidth, alignCorners);
    return out;
  };
  for (const Flip flip : options.flips) {
    TrainingTarget target{toFeatures(mask32, flip, options.alignCorners),
                          toFeatures(weight, flip, /*alignCorners=*/true)};
    for (float& value : target.mask) value = value < 0.5f ? 0.0f : 1.0f;
    if (ignored != nullptr) {
      const std::vector<float> cells = ignoredCells(ignored, height, width, flip, options);
      for (int64_t i = 0; i < featurePixels; ++i) target.weight[i] *= 1.0f - cells[i];
    }
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace ssn
