#include "detection/detector.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cancel.h"
#ifdef SSN_CUDA
#include "cuda/pipeline.h"
#endif
#include "error.h"
#include "features/features.h"
#include "features/input.h"
#include "runs_on_host.h"
#include "kernels/inference.h"
#include "kernels/run.h"
#include "tf32.h"

namespace ssn {

namespace {

constexpr int64_t kDeviceBatch = 64;  // images that a device other than the CPU computes at once: bounds its memory

constexpr double kSigma = 4.0;
constexpr int64_t kRadius = 12;  // kernel 25

// Reflection without repeating the border, as often as a short axis needs.
int64_t reflected(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

// From the map logits to the anomaly map (docs/method.md, Inference), for one axis, as an out x in matrix: bilinear
// upscaling (align_corners=False), then Gaussian blur with reflect padding. Both are linear and separable, so the whole
// is R M C^T.
at::Tensor upscaleBlurMatrix(int64_t in, int64_t out) {
  std::vector<double> kernel(2 * kRadius + 1);
  double sum = 0;
  for (int64_t d = -kRadius; d <= kRadius; ++d) sum += kernel[d + kRadius] = std::exp(-0.5 * d * d / (kSigma * kSigma));
  at::Tensor matrix = at::zeros({out, in}, at::kFloat);
  float* data = matrix.data_ptr<float>();
  std::vector<double> row(in);
  for (int64_t y = 0; y < out; ++y) {
    std::fill(row.begin(), row.end(), 0.0);
    for (int64_t d = -kRadius; d <= kRadius; ++d) {
      const double source = std::max(0.0, (reflected(y + d, out) + 0.5) * in / out - 0.5);
      const int64_t low = std::min<int64_t>(static_cast<int64_t>(source), in - 1);
      const double t = source - low;
      row[low] += kernel[d + kRadius] / sum * (1.0 - t);
      row[std::min(low + 1, in - 1)] += kernel[d + kRadius] / sum * t;
    }
    for (int64_t x = 0; x < in; ++x) data[y * in + x] = static_cast<float>(row[x]);
  }
  return matrix;
}

std::vector<at::Tensor> inFloat(const std::vector<at::Tensor>& layerMaps) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& layerMap : layerMaps) out.push_back(layerMap.to(at::kFloat));
  return out;
}

}  // namespace

Detector::Detector(const DetectorConfig& config, const TensorMap& backbone, const TensorMap& heads)
    : config_(config),
      backbone_(architectureNamed(config.architecture), backbone, config.layers, config.imageHeight, config.imageWidth,
                config.device, config.precision) {
  at::NoGradGuard guard;
  if (!config.computable()) throw Error("INTERNAL", "this classification head has no low-resolution form");
  const FeatureShape shape = featureShape(config);
  const Heads loaded = headsFromTensors(heads, shape.channels, config.layout, config.device, /*copy=*/config.direct);
  if (config.direct) {
    direct_ = loaded;
  } else {
    folded_.emplace(loaded, config.adaptedClassification,
                    LowResolutionGeometry(layerShapes(config), config.alignCorners, config.upscale, config.device),
                    config.precision);
  }
  const at::Tensor rows = upscaleBlurMatrix(shape.height, config.imageHeight),
                   columns = upscaleBlurMatrix(shape.width, config.imageWidth);
  if (runsOnHost(config.device)) {
    mapRows_ = rows;
    mapColumns_ = columns.t().contiguous();
  } else {
    mapRowsSparse_ = DeviceAxisMap(rows, config.device);
    mapColumnsSparse_ = DeviceAxisMap(columns, config.device);
  }
#ifdef SSN_CUDA
  if (config.device.is_cuda())
    pipeline_ = std::make_shared<cuda::Pipeline>(config.device, config.graphs,
                                                 [this](const at::Tensor& images) { return onDevice(images); });
#endif
}

HeadsOutput Detector::heads(const std::vector<at::Tensor>& layerMaps) const {
  if (folded_) return (*folded_)(layerMaps);
  const at::Tensor features = pooledFeatures(inFloat(layerMaps), config_.alignCorners, config_.upscale);
  const at::Tensor adaptedFeatures = adapted(*direct_, features);
  return headsDirect(*direct_, adaptedFeatures, config_.adaptedClassification ? adaptedFeatures : features,
                     /*training=*/false, /*stopGradient=*/false);
}

at::Tensor Detector::anomalyMap(const at::Tensor& map) const {
  if (mapRows_.defined()) return at::matmul(at::matmul(mapRows_, map), mapColumns_);
  const at::Tensor dense = map.contiguous(),
                   out = at::empty({map.size(0), 1, config_.imageHeight, config_.imageWidth}, map.options());
  forEach(map.device(), out.numel(),
          kernels::AnomalyMap{dense.data_ptr<float>(), mapRowsSparse_.rows(), mapColumnsSparse_.rows(), map.size(2),
                              map.size(3), config_.imageHeight, config_.imageWidth, out.data_ptr<float>()});
  return out;
}

Detector::Output Detector::detect(const at::Tensor& pixels) const {
  at::NoGradGuard guard;
  const int64_t n = pixels.size(0);
  std::vector<at::Tensor> scores, maps;
  if (!runsOnHost(config_.device)) {
    const AllowTf32 allow(config_.device, config_.tf32);
    for (int64_t i = 0; i < n; i += kDeviceBatch) {
      throwIfCancelled();
      const at::Tensor part = pixels.slice(0, i, std::min(n, i + kDeviceBatch));
#ifdef SSN_CUDA
      const auto [score, map] = pipeline_ ? (*pipeline_)(part) : onDevice(part);
#else
      const auto [score, map] = onDevice(part);
#endif
      scores.push_back(score);
      maps.push_back(map);
    }
    if (scores.size() == 1) return {scores[0], maps[0].squeeze(1)};
    return {at::cat(scores, 0), at::cat(maps, 0).squeeze(1)};
  }
  // On the CPU a batch gains nothing and its activations leave the caches; one by one, the result of an image cannot
  // depend on its neighbours either.
  for (int64_t i = 0; i < n; ++i) {
    throwIfCancelled();
    const HeadsOutput out = heads(
        backbone_.forward(normalisedImages(pixels[i].data_ptr<uint8_t>(), 1, config_.imageHeight, config_.imageWidth)));
    scores.push_back(out.score);
    maps.push_back(anomalyMap(out.map));
  }
  return {at::cat(scores, 0), at::cat(maps, 0).squeeze(1).contiguous()};
}

std::pair<at::Tensor, at::Tensor> Detector::onDevice(const at::Tensor& pixels) const {
  const HeadsOutput out = heads(backbone_.forward(normalisedOn(pixels, config_.precision)));
  return {out.score, anomalyMap(out.map)};
}

Detector::Inspection Detector::inspect(const at::Tensor& input) const {
  at::NoGradGuard guard;
  const AllowTf32 allow(config_.device, config_.tf32);
  const auto layerMaps = backbone_.forward(input);
  const HeadsOutput out = heads(layerMaps);
  const auto wide = inFloat(layerMaps);
  return {wide, pooledFeatures(wide, config_.alignCorners, config_.upscale).contiguous(), out.map, anomalyMap(out.map),
          out.score};
}

}  // namespace ssn
