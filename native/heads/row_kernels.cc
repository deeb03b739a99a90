#include "heads/row_kernels.h"

#include <ATen/ops/empty.h>

#include "kernels/run.h"
#include "kernels/training.h"

namespace ssn::row_kernels {
namespace {

const float* data(const at::Tensor& tensor) { return tensor.defined() ? tensor.data_ptr<float>() : nullptr; }

// kSums x K.
template <class Term>
at::Tensor columnSums(const at::Tensor& rows, const Term& term) {
  const int64_t count = rows.size(0), k = rows.size(1), chunks = kernels::chunks(count);
  const at::Tensor partial = at::empty({chunks, Term::kSums, k}, rows.options()),
                   out = at::empty({Term::kSums, k}, rows.options());
  forEach(rows.device(), chunks * k, kernels::ColumnPartials<Term>{term, count, k, partial.data_ptr<float>()});
  forEach(rows.device(), Term::kSums * k,
          kernels::ColumnTotals{partial.data_ptr<float>(), chunks, Term::kSums * k, out.data_ptr<float>()});
  return out;
}

// The tensors are the caller's and live until the kernels have been started; libtorch's memory is reused in stream
// order.
kernels::Norm normOf(const RowStatistics& statistics, const BatchNorm& norm) {
  return {data(statistics.mean), data(statistics.inverseStd), data(norm.weight), data(norm.bias)};
}

kernels::PoolGradient gradientOf(const ClassificationPool& pool, const BatchNorm& norm, int64_t plane,
                                 const at::Tensor& meanShare, const at::Tensor& maximumGradient) {
  return {data(pool.rows),       normOf(pool.statistics, norm),   data(meanShare),
          data(maximumGradient), pool.argmax.data_ptr<int64_t>(), plane,
          pool.rows.size(1)};
}

constexpr float kSlope = static_cast<float>(kLeakySlope);

}  // namespace

at::Tensor sums(const at::Tensor& rows, const at::Tensor& multiplicity) {
  return columnSums(rows, kernels::WeightedSum{data(rows), data(multiplicity), rows.size(1)})[0];
}

at::Tensor squaredDeviations(const at::Tensor& rows, const at::Tensor& multiplicity, const at::Tensor& mean) {
  return columnSums(rows, kernels::WeightedDeviation{data(rows), data(multiplicity), data(mean), rows.size(1)})[0];
}

at::Tensor leakyLogits(const at::Tensor& rows, const at::Tensor& scale, const at::Tensor& shift,
                       const at::Tensor& out) {
  const at::Tensor logits = at::empty({rows.size(0)}, rows.options());
  reduceRows(rows.device(), rows.size(0),
             kernels::LeakyLogits{data(rows), rows.size(1), data(scale), data(shift), data(out), kSlope,
                                  logits.data_ptr<float>()});
  return logits;
}

RowGradients leakyGradients(const at::Tensor& rows, const RowStatistics& statistics, const BatchNorm& norm,
                            const at::Tensor& out, const at::Tensor& gradient) {
  const at::Tensor sums = columnSums(rows, kernels::LeakyGradients{data(rows), normOf(statistics, norm), data(out),
                                                                   data(gradient), kSlope, rows.size(1)});
  return {sums[1], sums[0], sums[2]};
}

void leakyInputGradient(at::Tensor rows, const RowStatistics& statistics, const BatchNorm& norm, const at::Tensor& out,
                        const at::Tensor& gradient, const at::Tensor& multiplicity, const at::Tensor& meanBias,
                        const at::Tensor& meanWeight) {
  forEach(rows.device(), rows.numel() / 4,
          kernels::LeakyInputGradient{rows.data_ptr<float>(), normOf(statistics, norm), data(out), data(gradient),
                                      data(multiplicity), data(meanBias), data(meanWeight), kSlope, rows.size(1)});
}

void pool(ClassificationPool& pool, int64_t samples, int64_t plane, const at::Tensor& scale, const at::Tensor& shift) {
  const int64_t k = pool.rows.size(1), pieces = kernels::chunks(plane);
  const auto options = pool.rows.options();
  const at::Tensor sum = at::empty({samples, pieces, k}, options), maximum = at::empty({samples, pieces, k}, options),
                   argmax = at::empty({samples, pieces, k}, options.dtype(at::kLong));
  forEach(pool.rows.device(), samples * pieces * k,
          kernels::PoolPieces{data(pool.rows), data(scale), data(shift), plane, k, sum.data_ptr<float>(),
                              maximum.data_ptr<float>(), argmax.data_ptr<int64_t>()});
  pool.mean = at::empty({samples, k}, options);
  pool.maximum = at::empty({samples, k}, options);
  pool.argmax = at::empty({samples, k}, options.dtype(at::kLong));
  forEach(pool.rows.device(), samples * k,
          kernels::PoolTotals{data(sum), data(maximum), argmax.data_ptr<int64_t>(), pieces, plane, k,
                              pool.mean.data_ptr<float>(), pool.maximum.data_ptr<float>(),
                              pool.argmax.data_ptr<int64_t>()});
}

PoolGradients poolGradients(const ClassificationPool& pool, const BatchNorm& norm, int64_t plane,
                            const at::Tensor& meanShare, const at::Tensor& maximumGradient) {
  const at::Tensor sums =
      columnSums(pool.rows, kernels::PoolNormGradients{gradientOf(pool, norm, plane, meanShare, maximumGradient)});
  return {sums[1], sums[0]};
}

void poolInputGradient(ClassificationPool& pool, const BatchNorm& norm, int64_t plane, const at::Tensor& meanShare,
                       const at::Tensor& maximumGradient, const at::Tensor& meanBias, const at::Tensor& meanWeight) {
  forEach(
      pool.rows.device(), pool.rows.numel(),
      kernels::PoolInputGradient{pool.rows.data_ptr<float>(), gradientOf(pool, norm, plane, meanShare, maximumGradient),
                                 data(meanBias), data(meanWeight)});
}

}  // namespace ssn::row_kernels
