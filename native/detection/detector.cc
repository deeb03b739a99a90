#include "detection/detector.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/core/grad_mode.h>

#include "cancel.h"
#include "detection/map_upscale.h"
#include "error.h"
#include "features/features.h"
#include "features/input.h"

namespace ssn {

namespace {

std::vector<at::Tensor> inFloat(const std::vector<at::Tensor>& taps) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& tap : taps) out.push_back(tap.to(at::kFloat));
  return out;
}

}  // namespace

Detector::Detector(const DetectorConfig& config, const TensorMap& backbone, const TensorMap& heads)
    : config_(config), backbone_(architectureNamed(config.architecture), backbone, config.layers, config.imageHeight, config.imageWidth, config.device, config.precision) {
  at::NoGradGuard guard;
  if (!config.computable()) throw Error("INTERNAL", "this classification head has no low-resolution form");
  const FeatureShape shape = featureShape(config);
  const Heads loaded = headsFromTensors(heads, shape.channels, config.layout, config.device);
  if (config.direct) {
    direct_ = loaded;
  } else {
    folded_.emplace(loaded, config.adaptedClassification, LowResolutionGeometry(tapShapes(config), config.alignCorners, config.upscale, config.device), config.precision);
  }
  mapRows_ = upscaleBlurMatrix(shape.height, config.imageHeight).to(config.device);
  mapColumns_ = upscaleBlurMatrix(shape.width, config.imageWidth).t().contiguous().to(config.device);
}

HeadsOutput Detector::heads(const std::vector<at::Tensor>& taps) const {
  if (folded_) return (*folded_)(taps);
  const at::Tensor features = pooledFeatures(inFloat(taps), config_.alignCorners, config_.upscale);
  const at::Tensor adaptedFeatures = adapted(*direct_, features);
  return headsDirect(*direct_, adaptedFeatures, config_.adaptedClassification ? adaptedFeatures : features, /*training=*/false, /*stopGradient=*/false);
}

at::Tensor Detector::anomalyMap(const at::Tensor& map) const { return at::matmul(at::matmul(mapRows_, map), mapColumns_); }

Detector::Output Detector::detect(const at::Tensor& pixels) const {
  at::NoGradGuard guard;
  const int64_t n = pixels.size(0);
  std::vector<at::Tensor> scores, maps;
  // On the CPU a batch gains nothing and its activations leave the caches; one by one, the result of an image cannot
  // depend on its neighbours either.
  const int64_t chunk = config_.device.is_cpu() ? 1 : n;
  for (int64_t i = 0; i < n; i += chunk) {
    throwIfCancelled();
    const int64_t count = std::min(chunk, n - i);
    const at::Tensor part = pixels.slice(0, i, i + count);
    const HeadsOutput out = heads(backbone_.forward(normalisedImages(part.data_ptr<uint8_t>(), count, config_.imageHeight, config_.imageWidth)));
    scores.push_back(out.score.cpu());
    maps.push_back(anomalyMap(out.map).cpu());
  }
  return {at::cat(scores, 0), at::cat(maps, 0).squeeze(1).contiguous()};
}

Detector::Inspection Detector::inspect(const at::Tensor& input) const {
  at::NoGradGuard guard;
  const auto taps = backbone_.forward(input);
  const HeadsOutput out = heads(taps);
  const auto wide = inFloat(taps);
  return {wide, pooledFeatures(wide, config_.alignCorners, config_.upscale).contiguous(), out.map, anomalyMap(out.map), out.score};
}

}  // namespace ssn
