#include "heads/classification_pool.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include <vector>

#include "heads/row_kernels.h"
#include "runs_on_host.h"
#include "parallel.h"
#include "platform.h"

namespace ssn {
namespace {

SSN_VECTORISED void poolRow(const float* __restrict x, const float* __restrict scale, const float* __restrict shift,
                            float* __restrict sum, float* __restrict best, int32_t* __restrict at, int32_t row,
                            int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const float a = x[i] * scale[i] + shift[i];
    const float y = a > 0 ? a : 0;
    sum[i] += y;
    at[i] = y > best[i] ? row : at[i];
    best[i] = y > best[i] ? y : best[i];
  }
}

// Gradient behind the ReLU: the mean's share everywhere, the maximum's at its row.
inline float gateGradient(float a, float meanShare, float maximumGradient, bool isMaximum) {
  return a > 0 ? meanShare + (isMaximum ? maximumGradient : 0.0f) : 0.0f;
}

struct Channels {
  const float *mean, *inverseStd, *weight, *bias;
};

SSN_VECTORISED void addGradients(const float* __restrict x, const Channels c, const float* __restrict meanShare,
                                 const float* __restrict maximumGradient, const int32_t* __restrict at, int32_t row,
                                 float* __restrict dBias, float* __restrict dWeight, int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const float n = (x[i] - c.mean[i]) * c.inverseStd[i];
    const float g = gateGradient(c.weight[i] * n + c.bias[i], meanShare[i], maximumGradient[i], at[i] == row);
    dBias[i] += g;
    dWeight[i] += g * n;
  }
}

SSN_VECTORISED void inputGradient(float* __restrict x, const Channels c, const float* __restrict meanShare,
                                  const float* __restrict maximumGradient, const int32_t* __restrict at, int32_t row,
                                  const float* __restrict meanBias, const float* __restrict meanWeight, int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const float n = (x[i] - c.mean[i]) * c.inverseStd[i];
    const float g = gateGradient(c.weight[i] * n + c.bias[i], meanShare[i], maximumGradient[i], at[i] == row);
    x[i] = c.weight[i] * c.inverseStd[i] * (g - meanBias[i] - n * meanWeight[i]);
  }
}

}  // namespace

ClassificationPool classificationPool(const at::Tensor& rows, int64_t samples, int64_t plane, const BatchNorm& norm,
                                      Group* group) {
  const int64_t k = rows.size(1);
  ClassificationPool out;
  out.rows = rows;
  out.statistics =
      rowStatistics({rows, at::ones({rows.size(0)}, rows.options()), static_cast<double>(rows.size(0))}, group);
  const at::Tensor scale = norm.weight * out.statistics.inverseStd, shift = norm.bias - out.statistics.mean * scale;
  if (!runsOnHost(rows)) {
    row_kernels::pool(out, samples, plane, scale, shift);
    return out;
  }
  out.maximum = at::empty({samples, k}, at::kFloat);
  out.mean = at::empty({samples, k}, at::kFloat);
  out.argmax = at::empty({samples, k}, at::kInt);
  const float *data = rows.data_ptr<float>(), *s = scale.data_ptr<float>(), *b = shift.data_ptr<float>();
  float *maximum = out.maximum.data_ptr<float>(), *mean = out.mean.data_ptr<float>();
  int32_t* argmax = out.argmax.data_ptr<int32_t>();
  at::parallel_for(0, samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      float *best = maximum + n * k, *sum = mean + n * k;
      std::fill(best, best + k, 0.0f);
      std::fill(sum, sum + k, 0.0f);
      std::fill(argmax + n * k, argmax + (n + 1) * k, 0);
      for (int64_t r = 0; r < plane; ++r)
        poolRow(data + (n * plane + r) * k, s, b, sum, best, argmax + n * k, static_cast<int32_t>(r), k);
      for (int64_t i = 0; i < k; ++i) sum[i] /= static_cast<float>(plane);
    }
  });
  return out;
}

PoolGradients classificationPoolBackward(ClassificationPool& pool, const BatchNorm& norm, int64_t plane,
                                         const at::Tensor& maximumGradient, const at::Tensor& meanGradient,
                                         Group* group) {
  const int64_t samples = pool.maximum.size(0), k = pool.rows.size(1);
  const at::Tensor meanShare = (meanGradient / static_cast<double>(plane)).contiguous();
  const at::Tensor dense = maximumGradient.contiguous();
  const double count = pool.statistics.count;
  if (!runsOnHost(pool.rows)) {
    const PoolGradients grads = row_kernels::poolGradients(pool, norm, plane, meanShare, dense);
    const at::Tensor dBias = sumOverRanks(grads.normBias, group), dWeight = sumOverRanks(grads.normWeight, group);
    row_kernels::poolInputGradient(pool, norm, plane, meanShare, dense, dBias / count, dWeight / count);
    return grads;
  }
  float* data = pool.rows.data_ptr<float>();
  const Channels c{pool.statistics.mean.data_ptr<float>(), pool.statistics.inverseStd.data_ptr<float>(),
                   norm.weight.data_ptr<float>(), norm.bias.data_ptr<float>()};
  const float *share = meanShare.data_ptr<float>(), *dMaximum = dense.data_ptr<float>();
  const int32_t* argmax = pool.argmax.data_ptr<int32_t>();
  // Summed sample by sample, then over the samples in order: independent of the number of threads.
  std::vector<float> partial(samples * 2 * k, 0.0f);
  at::parallel_for(0, samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      for (int64_t r = 0; r < plane; ++r)
        addGradients(data + (n * plane + r) * k, c, share + n * k, dMaximum + n * k, argmax + n * k,
                     static_cast<int32_t>(r), &partial[n * 2 * k], &partial[n * 2 * k + k], k);
  });
  std::vector<double> sums(2 * k, 0.0);
  for (int64_t n = 0; n < samples; ++n)
    for (int64_t i = 0; i < 2 * k; ++i) sums[i] += partial[n * 2 * k + i];
  PoolGradients grads{at::empty({k}, at::kFloat), at::empty({k}, at::kFloat)};
  for (int64_t i = 0; i < k; ++i) {
    grads.normBias.data_ptr<float>()[i] = static_cast<float>(sums[i]);
    grads.normWeight.data_ptr<float>()[i] = static_cast<float>(sums[k + i]);
  }
  if (group != nullptr)
    group->sum(sums.data(), 2 * k);  // the means are over the whole batch, the gradients stay this rank's
  std::vector<float> meanBias(k), meanWeight(k);
  for (int64_t i = 0; i < k; ++i) {
    meanBias[i] = static_cast<float>(sums[i] / count);
    meanWeight[i] = static_cast<float>(sums[k + i] / count);
  }
  at::parallel_for(0, samples, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      for (int64_t r = 0; r < plane; ++r)
        inputGradient(data + (n * plane + r) * k, c, share + n * k, dMaximum + n * k, argmax + n * k,
                      static_cast<int32_t>(r), meanBias.data(), meanWeight.data(), k);
  });
  return grads;
}

}  // namespace ssn
