// What heads/segmentation_rows and heads/classification_pool do on devices other than the CPU, by kernels
// (kernels/training.h). rows: R x K, float32, contiguous.
#pragma once

#include <ATen/core/Tensor.h>

#include "heads/classification_pool.h"
#include "heads/segmentation_rows.h"

namespace ssn::row_kernels {

// Per channel: sum of multiplicity x, and of multiplicity (x - mean)^2. An undefined multiplicity is 1.
at::Tensor sums(const at::Tensor& rows, const at::Tensor& multiplicity);
at::Tensor squaredDeviations(const at::Tensor& rows, const at::Tensor& multiplicity, const at::Tensor& mean);

at::Tensor leakyLogits(const at::Tensor& rows, const at::Tensor& scale, const at::Tensor& shift, const at::Tensor& out);
RowGradients leakyGradients(const at::Tensor& rows, const RowStatistics& statistics, const BatchNorm& norm,
                            const at::Tensor& out, const at::Tensor& gradient);
// In place. meanBias, meanWeight: the batch's gradients of the norm divided by its positions.
void leakyInputGradient(at::Tensor rows, const RowStatistics& statistics, const BatchNorm& norm, const at::Tensor& out,
                        const at::Tensor& gradient, const at::Tensor& multiplicity, const at::Tensor& meanBias,
                        const at::Tensor& meanWeight);

// Fills maximum, mean and argmax from rows.
void pool(ClassificationPool& pool, int64_t samples, int64_t plane, const at::Tensor& scale, const at::Tensor& shift);
// meanShare: the mean's gradient divided by the positions; both n x K.
PoolGradients poolGradients(const ClassificationPool& pool, const BatchNorm& norm, int64_t plane,
                            const at::Tensor& meanShare, const at::Tensor& maximumGradient);
void poolInputGradient(ClassificationPool& pool, const BatchNorm& norm, int64_t plane, const at::Tensor& meanShare,
                       const at::Tensor& maximumGradient, const at::Tensor& meanBias, const at::Tensor& meanWeight);

}  // namespace ssn::row_kernels
