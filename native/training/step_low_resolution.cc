#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/col2im.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "cancel.h"
#include "heads/classification_pool.h"
#include "heads/segmentation_rows.h"
#include "runs_on_host.h"
#include "kernels/run.h"
#include "kernels/training.h"
#include "training/active_positions.h"
#include "training/noise_path.h"
#include "training/products.h"
#include "training/step.h"

namespace ssn {
namespace {

// Everything the two branches share.
struct Batch {
  int64_t images, plane, channels;    // b, H W, C
  std::vector<at::Tensor> layerMaps;  // b x (h_l w_l) x C_l; `precision`
  ActivePositions active;

  at::Tensor stacked(size_t l, int64_t from, int64_t to) const {
    return layerMaps[l].slice(0, from, to).reshape({-1, layerMaps[l].size(2)});
  }
};

Batch makeBatch(const StepInput& input, const at::Tensor& noiseMask, const LowResolutionGeometry& geometry,
                int64_t channels, at::ScalarType precision) {
  const int64_t b = input.label.size(0), plane = geometry.height() * geometry.width();
  Batch batch{b,
              plane,
              channels,
              {},
              ActivePositions(noiseMask.view({2 * b, plane}), b, geometry.height(), geometry.width(), input.capacity)};
  for (const at::Tensor& layerMap : input.layerMaps)
    batch.layerMaps.push_back(layerMap.permute({0, 2, 3, 1})
                                  .reshape({b, layerMap.size(2) * layerMap.size(3), layerMap.size(1)})
                                  .to(precision)
                                  .contiguous());
  throwIfCancelled();
  return batch;
}

void updateRunning(BatchNorm& norm, const RowStatistics& statistics, const at::Tensor& constant) {
  const double momentum = kHeadsBatchNormMomentum, count = statistics.count;
  norm.runningMean.mul_(1.0 - momentum).add_(statistics.mean + constant, momentum);
  norm.runningVar.mul_(1.0 - momentum).add_(statistics.variance, momentum * count / (count - 1.0));
}

// --- segmentation head ---------------------------------------------------------------------------------------------

// rows: b HW rows shared by both copies, then the noisy rows of every sample.
struct Segmentation {
  SegmentationRows rows;
  RowStatistics statistics;
  at::Tensor map;  // 2b x HW
};

Segmentation segmentationForward(Heads& heads, const Batch& batch, const NoisePath& noise,
                                 const LowResolutionGeometry& geometry, const at::Tensor& w1,
                                 const at::Tensor& combined, const at::Tensor& rowSpace, const StepOptions& options) {
  const int64_t b = batch.images, shared = b * batch.plane;
  Segmentation out;
  const int64_t rows = shared + batch.active.rows();
  out.rows.rows =
      rowSpace.defined() ? rowSpace.slice(0, 0, rows) : at::empty({rows, kSegmentationHidden}, w1.options());
  const at::Tensor base = out.rows.rows.slice(0, 0, shared);
  std::vector<at::Tensor> z;
  const auto columns = geometry.split(combined);
  for (size_t l = 0; l < batch.layerMaps.size(); ++l) {
    const auto& layer = geometry.layers()[l];
    z.push_back(productToUpscale(batch.stacked(l, 0, b), columns[l].t(), options.precision)
                    .view({b, layer.height, layer.width, kSegmentationHidden}));
  }
  geometry.upscale(z, base.view({b, geometry.height(), geometry.width(), kSegmentationHidden}));
  throwIfCancelled();
  noise.forwardRows(w1, base, out.rows.rows.slice(0, shared));
  out.rows.multiplicity = batch.active.multiplicity();
  out.rows.count = static_cast<double>(2 * shared);
  out.statistics = rowStatistics(out.rows, options.group);
  // The adaptor's and the convolution's biases are constants that batch norm removes; only the running mean sees them.
  updateRunning(heads.segNorm, out.statistics, at::mm(w1, heads.adaptorBias.unsqueeze(1)).squeeze(1) + heads.segBias);

  out.map = batch.active.toCells(rowLogits(out.rows, out.statistics, heads.segNorm, heads.segOut.view({-1})));
  return out;
}

struct SegmentationGradients {
  at::Tensor w1, combined;  // 1024 x C each: of the noise's path, and of W1 Wa
  RowGradients rows;
};

SegmentationGradients segmentationBackward(const Heads& heads, const Batch& batch, const NoisePath& noise,
                                           const LowResolutionGeometry& geometry, Segmentation& forward,
                                           const at::Tensor& mapGradient, const StepOptions& options) {
  const int64_t b = batch.images, shared = b * batch.plane;
  SegmentationGradients out;
  out.rows = rowsBackward(forward.rows, forward.statistics, heads.segNorm, heads.segOut.view({-1}),
                          batch.active.toRows(mapGradient), options.group);
  const at::Tensor &rows = forward.rows.rows, noisy = rows.slice(0, shared);
  throwIfCancelled();
  out.w1 = noise.backwardRows(noisy);
  // A noisy row is the row of its position plus noise, so its gradient is that row's too.
  batch.active.addToShared(rows.slice(0, 0, shared), noisy);
  throwIfCancelled();
  const auto dz = geometry.upscaleAdjoint(
      rows.slice(0, 0, shared).view({b, geometry.height(), geometry.width(), kSegmentationHidden}), options.precision);
  std::vector<at::Tensor> columns;
  for (size_t l = 0; l < dz.size(); ++l)
    columns.push_back(product(dz[l].view({-1, kSegmentationHidden}).t(), batch.stacked(l, 0, b), options.precision));
  out.combined = at::cat(columns, 1);
  return out;
}

// --- classification head -------------------------------------------------------------------------------------------

// Calls body(from, to) for consecutive ranges of images whose layers' products have about this many floats.
template <class Body>
void inPieces(int64_t images, int64_t floatsPerImage, int64_t floats, Body&& body) {
  const int64_t most = std::max<int64_t>(1, floats / floatsPerImage);
  for (int64_t from = 0; from < images; from += most) {
    throwIfCancelled();
    body(from, std::min(images, from + most));
  }
}

int64_t tapFloats(const LowResolutionGeometry& geometry) {
  int64_t cells = 0;
  for (const auto& layer : geometry.layers()) cells += layer.height * layer.width;
  return cells * kTaps * kClassificationHidden;
}

// The wide convolution without its map channel: 2b x H x W x 128. `kernel` acts on the noise, `baseKernel` on the layer
// maps (both (25 128) x C); they differ only if the head sees adapted features.
at::Tensor classificationForward(const Batch& batch, const NoisePath& noise, const LowResolutionGeometry& geometry,
                                 const at::Tensor& kernel, const at::Tensor& baseKernel, at::ScalarType precision) {
  const int64_t b = batch.images;
  at::Tensor linear = at::empty({2 * b, geometry.height(), geometry.width(), kClassificationHidden}, kernel.options());
  const auto columns = geometry.split(baseKernel);
  inPieces(b, tapFloats(geometry), pieceFloats(kernel), [&](int64_t from, int64_t to) {
    std::vector<at::Tensor> t;
    for (size_t l = 0; l < batch.layerMaps.size(); ++l) {
      const auto& layer = geometry.layers()[l];
      t.push_back(productToUpscale(batch.stacked(l, from, to), columns[l].t(), precision)
                      .view({to - from, layer.height, layer.width, kTaps * kClassificationHidden}));
    }
    geometry.upscaleTaps(t, linear.slice(0, from, to));
  });
  linear.slice(0, b, 2 * b).copy_(linear.slice(0, 0, b));
  noise.forwardTaps(kernel, linear);
  return linear;
}

struct KernelGradients {
  at::Tensor kernel, baseKernel;  // (25 128) x C: of the noise and of the layer maps
};

KernelGradients classificationBackward(const Batch& batch, const NoisePath& noise,
                                       const LowResolutionGeometry& geometry, const at::Tensor& gradient,
                                       at::ScalarType precision) {
  const int64_t b = batch.images;
  KernelGradients out;
  std::vector<at::Tensor> columns;
  for (const auto& layerMap : batch.layerMaps)
    columns.push_back(at::zeros({kTaps * kClassificationHidden, layerMap.size(2)}, gradient.options()));
  inPieces(b, tapFloats(geometry), pieceFloats(gradient), [&](int64_t from, int64_t to) {
    const auto dt =
        geometry.upscaleTapsAdjoint(gradient.slice(0, from, to) + gradient.slice(0, b + from, b + to), precision);
    for (size_t l = 0; l < dt.size(); ++l)
      addProduct(columns[l], dt[l].view({-1, kTaps * kClassificationHidden}).t(), batch.stacked(l, from, to),
                 precision);
  });
  out.baseKernel = at::cat(columns, 1);
  out.kernel = noise.backwardTaps(gradient);
  return out;
}

// The map's channel of the 5x5 convolution is its patches (2b HW x 25) times a kernel.
at::Tensor mapPatches(const at::Tensor& map) {
  const int64_t h = map.size(2), w = map.size(3);
  if (runsOnHost(map))
    return at::im2col(map, {kTapSide, kTapSide}, {1, 1}, {kTapSide / 2, kTapSide / 2}, {1, 1})
        .transpose(1, 2)
        .reshape({-1, kTaps});
  at::Tensor out = at::empty({map.numel(), kTaps}, map.options());
  forEach(map.device(), out.numel(), kernels::MapPatches{map.data_ptr<float>(), h, w, out.data_ptr<float>()});
  return out;
}

at::Tensor mapPatchesAdjoint(const at::Tensor& patches, at::IntArrayRef shape) {
  if (runsOnHost(patches)) {
    const at::Tensor columns = patches.view({shape[0], shape[2] * shape[3], kTaps}).transpose(1, 2).contiguous();
    return at::col2im(columns, {shape[2], shape[3]}, {kTapSide, kTapSide}, {1, 1}, {kTapSide / 2, kTapSide / 2},
                      {1, 1});
  }
  at::Tensor out = at::empty(shape, patches.options());
  forEach(patches.device(), out.numel(),
          kernels::MapPatchesAdjoint{patches.data_ptr<float>(), shape[2], shape[3], out.data_ptr<float>()});
  return out;
}

at::Tensor leaf(const at::Tensor& value) { return value.detach().set_requires_grad(true); }

}  // namespace

StepOutput stepLowResolution(Heads& heads, const StepInput& input, const StepOptions& options,
                             const LowResolutionGeometry& geometry) {
  at::NoGradGuard noGrad;
  const Perturbation perturbed = perturbation(input, options.overlap);
  const Batch batch = makeBatch(input, perturbed.noiseMask, geometry, heads.channels(), options.precision);
  const NoisePath noise(input.noise(batch.active.cells()), batch.active, options.precision);
  const int64_t c = batch.channels, b = batch.images, h = geometry.height(), w = geometry.width();
  const std::vector<int64_t> mapShape = {2 * b, 1, h, w};

  const at::Tensor w1 = heads.segWeight.view({kSegmentationHidden, c}), wa = heads.adaptorWeight.view({c, c});
  Segmentation segmentation =
      segmentationForward(heads, batch, noise, geometry, w1, at::mm(w1, wa), input.rowSpace, options);

  const at::Tensor kernel = tapMajor(heads.clsWeight.slice(1, 0, c));
  at::Tensor linear = classificationForward(
      batch, noise, geometry, kernel, options.adaptedClassification ? at::mm(kernel, wa) : kernel, options.precision);
  if (options.adaptedClassification) {
    // The adaptor's bias enters before the convolution's zero padding: a map that is smaller near the border.
    const at::Tensor bias = at::mm(kernel, heads.adaptorBias.unsqueeze(1)).view({kTaps, kClassificationHidden});
    linear.add_(at::mm(geometry.insideTaps(), bias).view({h, w, kClassificationHidden}));
  }
  const at::Tensor mapKernel = heads.clsWeight.slice(1, c, c + 1).reshape({kClassificationHidden, kTaps});
  const at::Tensor map = leaf(segmentation.map.view(mapShape));
  const at::Tensor patches = mapPatches(map.detach());
  ClassificationPool pool = classificationPool(linear.view({-1, kClassificationHidden}).addmm_(patches, mapKernel.t()),
                                               2 * b, batch.plane, heads.clsNorm, options.group);
  updateRunning(heads.clsNorm, pool.statistics, heads.clsBias);  // its bias is a constant too

  // What is left is small: autograd does it.
  const at::Tensor maximum = leaf(pool.maximum), mean = leaf(pool.mean), fcWeight = leaf(heads.fcWeight),
                   fcBias = leaf(heads.fcBias);
  StepOutput out;
  {
    at::AutoGradMode grad(true);
    const at::Tensor seen = options.stopGradient ? map.detach() : map;
    const at::Tensor score =
        at::linear(at::cat({maximum, mean, at::amax(seen, {2, 3}), seen.mean({2, 3})}, 1), fcWeight, fcBias).squeeze(1);
    const Losses loss = losses(map, score, perturbed.targets, {options.focalMap, /*focalScore=*/true}, options.group);
    loss.total().backward();
    out = {loss.l1Normal.detach(), loss.l1Anomalous.detach(),
           loss.focalMap.detach(), loss.focalScore.detach(),
           map.detach(),           score.detach(),
           perturbed.targets,      {},
           batch.active.count()};
  }

  const PoolGradients poolGradients =
      classificationPoolBackward(pool, heads.clsNorm, batch.plane, maximum.grad(), mean.grad(), options.group);
  const at::Tensor& linearGradient = pool.rows;
  const at::Tensor dMapKernel = at::mm(linearGradient.t(), patches);
  at::Tensor mapGradient = map.grad();
  if (!options.stopGradient) {
    mapGradient = mapGradient + mapPatchesAdjoint(at::mm(linearGradient, mapKernel), mapShape);
  }
  const KernelGradients kernels = classificationBackward(
      batch, noise, geometry, linearGradient.view({2 * b, h, w, kClassificationHidden}), options.precision);
  SegmentationGradients seg = segmentationBackward(heads, batch, noise, geometry, segmentation,
                                                   mapGradient.reshape({2 * b, batch.plane}), options);
  at::Tensor dWa = at::mm(w1.t(), seg.combined);
  const at::Tensor dW1 = seg.w1.addmm_(seg.combined, wa.t());
  at::Tensor dAdaptorBias = at::zeros_like(heads.adaptorBias);
  at::Tensor dKernel = kernels.kernel;
  if (options.adaptedClassification) {
    dKernel.addmm_(kernels.baseKernel, wa.t());
    dWa.addmm_(kernel.t(), kernels.baseKernel);
    const at::Tensor perPosition = linearGradient.view({2 * b, batch.plane, kClassificationHidden}).sum(0);
    const at::Tensor dBias = at::mm(geometry.insideTaps().t(), perPosition).view({-1, 1});  // (25 128) x 1
    dKernel.addmm_(dBias, heads.adaptorBias.unsqueeze(0));
    dAdaptorBias = at::mm(kernel.t(), dBias).squeeze(1);
  } else {
    dKernel.add_(kernels.baseKernel);
  }
  out.gradients = {
      dWa.view_as(heads.adaptorWeight),
      dAdaptorBias,
      dW1.view_as(heads.segWeight),
      at::zeros_like(heads.segBias),  // exactly zero: batch norm follows
      seg.rows.normWeight,
      seg.rows.normBias,
      seg.rows.out.view_as(heads.segOut),
      at::cat({fromTapMajor(dKernel, kClassificationHidden),
               dMapKernel.view({kClassificationHidden, 1, kTapSide, kTapSide})},
              1),
      at::zeros_like(heads.clsBias),  // zero for the same reason
      poolGradients.normWeight,
      poolGradients.normBias,
      fcWeight.grad(),
      fcBias.grad(),
  };
  return out;
}

}  // namespace ssn
