#include "features/features.h"

#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace ssn {

FeatureShape featureShape(const std::vector<LayerShape>& layers, bool upscale) {
  const int64_t factor = upscale ? 2 : 1;
  FeatureShape shape{0, 0, 0};
  for (const auto& layer : layers) {
    shape.channels += layer.channels;
    shape.height = std::max(shape.height, factor * layer.height);
    shape.width = std::max(shape.width, factor * layer.width);
  }
  return shape;
}

at::Tensor pooledFeatures(const std::vector<at::Tensor>& layerMaps, bool alignCorners, bool upscale) {
  const int64_t factor = upscale ? 2 : 1;
  int64_t height = 0, width = 0;
  for (const at::Tensor& layerMap : layerMaps) {
    height = std::max(height, factor * layerMap.size(2));
    width = std::max(width, factor * layerMap.size(3));
  }
  std::vector<at::Tensor> upscaled;
  for (const at::Tensor& layerMap : layerMaps)
    upscaled.push_back(at::upsample_bilinear2d(layerMap, {height, width}, alignCorners));
  return at::avg_pool2d(at::cat(upscaled, 1), {3, 3}, {1, 1}, {1, 1}, /*ceil_mode=*/false, /*count_include_pad=*/true);
}

at::Tensor upscalePoolMatrix(int64_t in, int64_t out, bool alignCorners) {
  std::vector<double> bilinear(out * in, 0.0);
  for (int64_t y = 0; y < out; ++y) {
    double source;
    if (alignCorners) {
      source = out > 1 ? static_cast<double>(y) * (in - 1) / (out - 1) : 0.0;
    } else {
      source = std::max(0.0, (y + 0.5) * in / out - 0.5);
    }
    const int64_t low = std::min<int64_t>(static_cast<int64_t>(source), in - 1);
    const int64_t high = std::min(low + 1, in - 1);
    const double t = source - low;
    bilinear[y * in + low] += 1.0 - t;
    bilinear[y * in + high] += t;
  }
  at::Tensor matrix = at::zeros({out, in}, at::kFloat);
  float* data = matrix.data_ptr<float>();
  for (int64_t y = 0; y < out; ++y)
    for (int64_t x = 0; x < in; ++x) {
      double sum = 0;
      for (int64_t d = -1; d <= 1; ++d)
        if (y + d >= 0 && y + d < out) sum += bilinear[(y + d) * in + x];
      data[y * in + x] = static_cast<float>(sum / 3.0);
    }
  return matrix;
}

at::Tensor shiftedRows(const at::Tensor& matrix, int64_t shift) {
  at::Tensor out = at::zeros_like(matrix);
  const int64_t rows = matrix.size(0);
  const int64_t from = std::max<int64_t>(0, shift), to = std::min(rows, rows + shift);
  if (from < to) out.slice(0, from - shift, to - shift).copy_(matrix.slice(0, from, to));
  return out;
}

}  // namespace ssn
