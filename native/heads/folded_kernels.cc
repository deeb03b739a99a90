// FoldedHeads on devices other than the CPU: wide products by libtorch for many images at once, kernels between them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "cancel.h"
#include "heads/folded.h"
#include "kernels/inference.h"
#include "kernels/run.h"

namespace ssn {
namespace {

// Intermediate results take about this many floats (256 MiB) at a time; an image of 256x256 has about 8 million.
constexpr int64_t kPiece = 64 << 20;

// n x R x W x K: the products of every layer map with its columns, upscaled along the lines.
at::Tensor widened(const std::vector<at::Tensor>& layerMaps, const std::vector<at::Tensor>& weights,
                   const LowResolutionGeometry& geometry, bool shifted) {
  const LowResolutionGeometry::Sparse map = geometry.sparse(shifted);
  const at::Device device = layerMaps[0].device();
  const int64_t n = layerMaps[0].size(0), channels = weights[0].size(1) / (map.side * map.side), w = geometry.width();
  at::Tensor wide = at::empty({n, map.rows, w, channels}, layerMaps[0].options().dtype(at::kFloat));
  int64_t firstRow = 0;
  for (size_t l = 0; l < layerMaps.size(); ++l) {
    const auto& layer = geometry.layers()[l];
    const at::Tensor z = at::mm(
        layerMaps[l].permute({0, 2, 3, 1}).reshape({n * layer.height * layer.width, layer.channels}), weights[l]);
    withElement(z.scalar_type(), [&](auto element) {
      using T = decltype(element);
      const kernels::WidenColumns<T> body{z.data_ptr<T>(),
                                          wide.data_ptr<float>(),
                                          map.columns[l].rows(),
                                          layer.height,
                                          layer.width,
                                          map.side,
                                          channels,
                                          map.rows,
                                          firstRow,
                                          w};
      forEach(device, n * layer.height * map.side * w * (channels / 4), body);
    });
    firstRow += layer.height * map.side;
  }
  return wide;
}

}  // namespace

HeadsOutput FoldedHeads::withKernels(const std::vector<at::Tensor>& layerMaps) const {
  const int64_t h = geometry_.height(), w = geometry_.width();
  const auto floats = [&](const LowResolutionGeometry::Sparse& map, int64_t channels) {
    return 2 * map.rows * w * channels;
  };  // with the products
  const int64_t piece = std::max<int64_t>(1, kPiece / (floats(geometry_.sparse(false), kSegmentationHidden) +
                                                       floats(geometry_.sparse(true), kClassificationHidden)));
  const int64_t n = layerMaps[0].size(0);
  const at::Device device = layerMaps[0].device();
  const auto options = layerMaps[0].options().dtype(at::kFloat);
  HeadsOutput out{at::empty({n, 1, h, w}, options), at::empty({n}, options)};
  for (int64_t from = 0; from < n; from += piece) {
    throwIfCancelled();
    const int64_t count = std::min(piece, n - from);
    std::vector<at::Tensor> part;
    for (const at::Tensor& layerMap : layerMaps) part.push_back(layerMap.slice(0, from, from + count));
    float* map = out.map.data_ptr<float>() + from * h * w;
    {
      const LowResolutionGeometry::Sparse plain = geometry_.sparse(false);
      const at::Tensor wide = widened(part, segmentation_, geometry_, false);
      reduceRows(device, count * h * w,
                 kernels::MapLogits{wide.data_ptr<float>(), plain.map.rows(), plain.rows, h, w, kSegmentationHidden,
                                    segScale_.data_ptr<float>(), segShift_.data_ptr<float>(), segOut_.data_ptr<float>(),
                                    static_cast<float>(kLeakySlope), map});
    }
    const LowResolutionGeometry::Sparse shifted = geometry_.sparse(true);
    const at::Tensor wide = widened(part, classification_, geometry_, true);
    // Few images are cut finely, so that there is work for all of a GPU.
    const int64_t length = count < 4 ? 2 : 8, segments = h * kernels::ClassificationSegments::segments(w, length),
                  pooled = 32;
    const at::Tensor sum = at::empty({count, segments, kClassificationHidden}, options), maximum = at::empty_like(sum);
    forEach(device, count * segments * (kClassificationHidden / 4),
            kernels::ClassificationSegments{wide.data_ptr<float>(), shifted.map.rows(), shifted.rows, h, w,
                                            kClassificationHidden, classificationBias_.data_ptr<float>(), map,
                                            mapTaps_.data_ptr<float>(), length, sum.data_ptr<float>(),
                                            maximum.data_ptr<float>()});
    forEach(device, count * kernels::PoolSegments::groups(segments, pooled) * (kClassificationHidden / 4),
            kernels::PoolSegments{sum.data_ptr<float>(), maximum.data_ptr<float>(), segments, pooled,
                                  kClassificationHidden});
    reduceRows(device, count,
               kernels::Score{sum.data_ptr<float>(), maximum.data_ptr<float>(), map, segments, pooled, h * w,
                              kClassificationHidden, fcWeight_.data_ptr<float>(), fcBias_.data_ptr<float>(),
                              out.score.data_ptr<float>() + from});
  }
  return out;
}

}  // namespace ssn
