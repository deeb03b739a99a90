#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "cancel.h"
#include "heads/direct.h"
#include "heads/noise_taps.h"
#include "heads/segmentation_rows.h"
#include "training/step.h"

namespace ssn {
namespace {

// Everything the two branches share.
struct Batch {
  int64_t images, plane, channels;       // b, H W, C
  std::vector<at::Tensor> taps;          // b x (h_l w_l) x C_l
  at::Tensor noiseMask;                  // 2b x HW
  std::vector<at::Tensor> positions;     // per sample, int32 on the CPU
  std::vector<at::Tensor> indices;       // the same, int64 on the device
  std::vector<at::Tensor> noise;         // per sample, P_s x C
  int64_t active = 0;                    // sum of P_s
  at::Tensor stacked(size_t l) const { return taps[l].view({-1, taps[l].size(2)}); }
};

// The segmentation head up to the map. rows: b HW rows shared by both copies, then the noisy rows of every sample.
struct Segmentation {
  SegmentationRows rows;
  RowStatistics statistics;
  at::Tensor map;  // 2b x HW
};

Segmentation segmentationForward(Heads& heads, const Batch& batch, const LowResolutionGeometry& geometry, const at::Tensor& w1, const at::Tensor& combined) {
  const int64_t b = batch.images, plane = batch.plane, shared = b * plane;
  Segmentation out;
  out.rows.rows = at::empty({shared + batch.active, kSegmentationHidden}, w1.options());
  std::vector<at::Tensor> z;
  const auto columns = geometry.split(combined);
  for (size_t l = 0; l < batch.taps.size(); ++l) {
    const auto& tap = geometry.taps()[l];
    z.push_back(at::mm(batch.stacked(l), columns[l].t()).view({b, tap.height, tap.width, kSegmentationHidden}));
  }
  geometry.upscale(z, out.rows.rows.slice(0, 0, shared).view({b, geometry.height(), geometry.width(), kSegmentationHidden}));
  int64_t row = shared;
  for (int64_t s = 0; s < 2 * b; ++s) {
    const int64_t count = batch.positions[s].numel();
    if (count == 0) continue;
    throwIfCancelled();
    at::Tensor noisy = out.rows.rows.slice(0, row, row + count);
    at::mm_out(noisy, batch.noise[s], w1.t());
    noisy.add_(at::index_select(out.rows.rows.slice(0, (s % b) * plane, (s % b + 1) * plane), 0, batch.indices[s]));
    row += count;
  }
  const at::Tensor clean = 2.0 - batch.noiseMask.slice(0, 0, b) - batch.noiseMask.slice(0, b, 2 * b);
  out.rows.multiplicity = at::cat({clean.reshape(-1), at::ones({batch.active}, clean.options())}, 0);
  out.rows.count = static_cast<double>(2 * shared);
  out.statistics = rowStatistics(out.rows);

  // The adaptor's and the convolution's biases are constants that batch norm removes; only the running mean sees them.
  const at::Tensor constant = at::mm(w1, heads.adaptorBias.unsqueeze(1)).squeeze(1) + heads.segBias;
  const double momentum = kHeadsBatchNormMomentum, unbiased = out.rows.count / (out.rows.count - 1.0);
  heads.segNorm.runningMean.mul_(1.0 - momentum).add_(out.statistics.mean + constant, momentum);
  heads.segNorm.runningVar.mul_(1.0 - momentum).add_(out.statistics.variance, momentum * unbiased);

  const at::Tensor logits = rowLogits(out.rows, out.statistics, heads.segNorm, heads.segOut.view({-1}));
  const at::Tensor base = logits.slice(0, 0, shared).view({b, plane});
  out.map = at::cat({base, base}, 0);
  row = shared;
  for (int64_t s = 0; s < 2 * b; ++s) {
    const int64_t count = batch.positions[s].numel();
    if (count > 0) out.map[s].index_copy_(0, batch.indices[s], logits.slice(0, row, row + count));
    row += count;
  }
  return out;
}

struct SegmentationGradients {
  at::Tensor w1, combined;  // 1024 x C each: of the noise's path, and of W1 Wa
  RowGradients rows;
};

SegmentationGradients segmentationBackward(const Heads& heads, const Batch& batch, const LowResolutionGeometry& geometry, Segmentation& forward, const at::Tensor& mapGradient) {
  const int64_t b = batch.images, plane = batch.plane, shared = b * plane;
  std::vector<at::Tensor> rowGradients;
  const at::Tensor clean = mapGradient * (1.0 - batch.noiseMask);
  rowGradients.push_back((clean.slice(0, 0, b) + clean.slice(0, b, 2 * b)).view({-1}));
  for (int64_t s = 0; s < 2 * b; ++s)
    if (batch.positions[s].numel() > 0) rowGradients.push_back(at::index_select(mapGradient[s], 0, batch.indices[s]));
  SegmentationGradients out;
  out.rows = rowsBackward(forward.rows, forward.statistics, heads.segNorm, heads.segOut.view({-1}), at::cat(rowGradients, 0));
  out.w1 = at::zeros({kSegmentationHidden, batch.channels}, mapGradient.options());
  const at::Tensor& rows = forward.rows.rows;
  int64_t row = shared;
  for (int64_t s = 0; s < 2 * b; ++s) {
    const int64_t count = batch.positions[s].numel();
    if (count == 0) continue;
    throwIfCancelled();
    const at::Tensor noisy = rows.slice(0, row, row + count);
    out.w1.addmm_(noisy.t(), batch.noise[s]);
    rows.slice(0, (s % b) * plane, (s % b + 1) * plane).index_add_(0, batch.indices[s], noisy);
    row += count;
  }
  const auto dz = geometry.upscaleAdjoint(rows.slice(0, 0, shared).view({b, geometry.height(), geometry.width(), kSegmentationHidden}));
  std::vector<at::Tensor> columns;
  for (size_t l = 0; l < dz.size(); ++l) columns.push_back(at::mm(dz[l].reshape({-1, kSegmentationHidden}).t(), batch.stacked(l)));
  out.combined = at::cat(columns, 1);
  return out;
}

// The classification head's wide convolution: 2b x H x W x 128. `kernel` acts on the noise, `baseKernel` on the taps
// (both (25 128) x C); they differ only if the head sees adapted features.
at::Tensor classificationForward(const Batch& batch, const LowResolutionGeometry& geometry, const at::Tensor& kernel, const at::Tensor& baseKernel) {
  const int64_t b = batch.images, h = geometry.height(), w = geometry.width();
  at::Tensor linear = at::empty({2 * b, h, w, kClassificationHidden}, kernel.options());
  const auto columns = geometry.split(baseKernel);
  for (int64_t i = 0; i < b; ++i) {  // image by image: the 25 x 128 channels of a whole batch would be the largest tensor of the step
    throwIfCancelled();
    std::vector<at::Tensor> t;
    for (size_t l = 0; l < batch.taps.size(); ++l) {
      const auto& tap = geometry.taps()[l];
      t.push_back(at::mm(batch.taps[l][i], columns[l].t()).view({1, tap.height, tap.width, kTaps * kClassificationHidden}));
    }
    const at::Tensor base = geometry.upscaleTaps(t)[0];
    linear[i].copy_(base);
    linear[b + i].copy_(base);
  }
  for (int64_t s = 0; s < 2 * b; ++s) {
    if (batch.positions[s].numel() == 0) continue;
    throwIfCancelled();
    addNoiseTaps(linear[s], at::mm(batch.noise[s], kernel.t()), batch.positions[s]);
  }
  return linear;
}

struct KernelGradients {
  at::Tensor kernel, baseKernel;  // (25 128) x C: of the noise's path and of the taps'
};

KernelGradients classificationBackward(const Batch& batch, const LowResolutionGeometry& geometry, const at::Tensor& gradient) {
  const int64_t b = batch.images;
  KernelGradients out;
  std::vector<at::Tensor> columns;
  for (const auto& tap : batch.taps) columns.push_back(at::zeros({kTaps * kClassificationHidden, tap.size(2)}, gradient.options()));
  for (int64_t i = 0; i < b; ++i) {
    throwIfCancelled();
    const auto dt = geometry.upscaleTapsAdjoint((gradient[i] + gradient[b + i]).unsqueeze(0));
    for (size_t l = 0; l < dt.size(); ++l) columns[l].addmm_(dt[l].view({-1, kTaps * kClassificationHidden}).t(), batch.taps[l][i]);
  }
  out.baseKernel = at::cat(columns, 1);
  out.kernel = at::zeros_like(out.baseKernel);
  for (int64_t s = 0; s < 2 * b; ++s) {
    if (batch.positions[s].numel() == 0) continue;
    throwIfCancelled();
    out.kernel.addmm_(gatherNoiseTaps(gradient[s], batch.positions[s]).t(), batch.noise[s]);
  }
  return out;
}

at::Tensor leaf(const at::Tensor& value) { return value.detach().set_requires_grad(true); }

}  // namespace

StepOutput stepLowResolution(Heads& heads, const StepInput& input, const StepOptions& options, const LowResolutionGeometry& geometry) {
  at::NoGradGuard noGrad;
  const Perturbation perturbed = perturbation(input);
  Batch batch;
  batch.images = input.label.size(0);
  batch.plane = geometry.height() * geometry.width();
  batch.channels = heads.channels();
  for (const at::Tensor& tap : input.taps) batch.taps.push_back(tap.permute({0, 2, 3, 1}).reshape({batch.images, -1, tap.size(1)}).contiguous());
  batch.noiseMask = perturbed.noiseMask.view({2 * batch.images, batch.plane});
  batch.positions = activePositions(perturbed.noiseMask);
  for (size_t s = 0; s < batch.positions.size(); ++s) {
    throwIfCancelled();
    batch.indices.push_back(batch.positions[s].to(batch.noiseMask.device(), at::kLong));
    batch.noise.push_back(batch.positions[s].numel() > 0 ? input.noise(s, batch.positions[s]) : at::Tensor());
    batch.active += batch.positions[s].numel();
  }

  const int64_t c = batch.channels, b = batch.images;
  const at::Tensor w1 = heads.segWeight.view({kSegmentationHidden, c}), wa = heads.adaptorWeight.view({c, c});
  Segmentation segmentation = segmentationForward(heads, batch, geometry, w1, at::mm(w1, wa));

  const at::Tensor kernel = tapMajor(heads.clsWeight.slice(1, 0, c));
  at::Tensor linear = classificationForward(batch, geometry, kernel, options.adaptedClassification ? at::mm(kernel, wa) : kernel);
  if (options.adaptedClassification) {
    // The adaptor's bias enters before the convolution's zero padding: a map that is smaller near the border.
    const at::Tensor bias = at::mm(kernel, heads.adaptorBias.unsqueeze(1)).view({kTaps, kClassificationHidden});
    linear.add_(at::mm(geometry.insideTaps(), bias).view({geometry.height(), geometry.width(), kClassificationHidden}));
  }

  // What follows the wide convolutions is small: autograd does it.
  Heads small = heads;
  for (at::Tensor* parameter : {&small.clsBias, &small.clsNorm.weight, &small.clsNorm.bias, &small.fcWeight, &small.fcBias}) *parameter = leaf(*parameter);
  const at::Tensor mapKernel = leaf(heads.clsWeight.slice(1, c, c + 1).clone());
  const at::Tensor map = leaf(segmentation.map.view({2 * b, 1, geometry.height(), geometry.width()}));
  const at::Tensor linearLeaf = leaf(linear.permute({0, 3, 1, 2}));
  StepOutput out;
  {
    at::AutoGradMode grad(true);
    const at::Tensor score = scoreFromLinear(small, mapKernel, linearLeaf, options.stopGradient ? map.detach() : map, /*training=*/true);
    const Losses loss = losses(map, score, perturbed.targets);
    loss.total().backward();
    out = {loss.l1Normal.detach(), loss.l1Anomalous.detach(), loss.focalMap.detach(), loss.focalScore.detach(), map.detach(), score.detach(), perturbed.targets, {}};
  }
  linear = at::Tensor();

  const at::Tensor linearGradient = linearLeaf.grad().permute({0, 2, 3, 1}).contiguous();
  KernelGradients kernels = classificationBackward(batch, geometry, linearGradient);
  SegmentationGradients seg = segmentationBackward(heads, batch, geometry, segmentation, map.grad().view({2 * b, batch.plane}));
  at::Tensor dWa = at::mm(w1.t(), seg.combined);
  const at::Tensor dW1 = seg.w1.addmm_(seg.combined, wa.t());
  at::Tensor dAdaptorBias = at::zeros_like(heads.adaptorBias);
  at::Tensor dKernel = kernels.kernel;
  if (options.adaptedClassification) {
    dKernel.addmm_(kernels.baseKernel, wa.t());
    dWa.addmm_(kernel.t(), kernels.baseKernel);
    const at::Tensor dBias = at::mm(geometry.insideTaps().t(), linearGradient.sum(0).view({batch.plane, kClassificationHidden})).view({-1, 1});  // (25 128) x 1
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
      at::cat({fromTapMajor(dKernel, kClassificationHidden), mapKernel.grad()}, 1),
      small.clsBias.grad(),
      small.clsNorm.weight.grad(),
      small.clsNorm.bias.grad(),
      small.fcWeight.grad(),
      small.fcBias.grad(),
  };
  return out;
}

}  // namespace ssn
