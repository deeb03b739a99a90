// Batch norm -> ReLU -> maximum and mean over space of the classification head in training, over rows (positions)
// x 128 channels, sample by sample. Fused passes instead of autograd's full-size intermediate tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include "heads/segmentation_rows.h"

namespace ssn {

struct ClassificationPool {
  at::Tensor rows;  // (n HW) x K, before the batch norm; the backward pass overwrites it
  RowStatistics statistics;
  at::Tensor maximum, mean;  // n x K
  at::Tensor argmax;         // n x K, int64: row of the maximum within its sample
};

// rows: (n HW) x K, n samples, of which this rank of a group may have none.
ClassificationPool classificationPool(const at::Tensor& rows, int64_t samples, int64_t plane, const BatchNorm& norm,
                                      Group* group);

struct PoolGradients {
  at::Tensor normWeight, normBias;  // K
};
// Takes the gradients of maximum and mean (n x K). pool.rows becomes the gradient of the rows. The gradients of the
// parameters are this rank's share.
PoolGradients classificationPoolBackward(ClassificationPool& pool, const BatchNorm& norm, int64_t plane,
                                         const at::Tensor& maximumGradient, const at::Tensor& meanGradient,
                                         Group* group);

}  // namespace ssn
