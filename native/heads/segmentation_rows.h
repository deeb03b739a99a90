// Batch norm -> LeakyReLU(0.2) -> 1x1 convolution to one channel, over rows (positions) x 1024 channels in training.
// Most positions of the duplicated batch are equal in both copies: a row stands for `multiplicity` equal positions
// (0, 1 or 2), so nothing of the size 2b x 1024 x H x W exists. One fused pass each for statistics, forward, and two
// for backward.
#pragma once

#include <ATen/core/Tensor.h>

#include "distributed/group.h"
#include "heads/parameters.h"

namespace ssn {

struct SegmentationRows {
  at::Tensor rows;          // R x K; overwritten by the backward pass
  at::Tensor multiplicity;  // R
  double count;             // sum of the multiplicities: positions of this rank's part of the batch
};

struct RowStatistics {
  at::Tensor mean, inverseStd;  // K
  at::Tensor variance;          // K, biased
  double count;                 // positions of the whole batch
};

// Statistics over the rows of all ranks, if there is a group; this rank may have none.
RowStatistics rowStatistics(const SegmentationRows& x, Group* group);

// R map logits: leaky(g (x - mean) inverseStd + beta) . w
at::Tensor rowLogits(const SegmentationRows& x, const RowStatistics& statistics, const BatchNorm& norm,
                     const at::Tensor& out);

// The same with the batch norm given as scale and shift: leaky(scale x + shift) . w for each row.
at::Tensor leakyLogits(const at::Tensor& rows, const at::Tensor& scale, const at::Tensor& shift, const at::Tensor& out);

// rows[index[i]] += added[i]; no index occurs twice. rows: R x K, index: int64. On the CPU.
void addRows(at::Tensor rows, const at::Tensor& added, const at::Tensor& index);

struct RowGradients {
  at::Tensor normWeight, normBias, out;  // K each
};
// `gradient`: R, of the logits, summed over the positions that a row stands for. x.rows becomes the gradient of the
// rows, summed in the same way. The gradients of the parameters are this rank's share.
RowGradients rowsBackward(SegmentationRows& x, const RowStatistics& statistics, const BatchNorm& norm,
                          const at::Tensor& out, const at::Tensor& gradient, Group* group);

}  // namespace ssn
