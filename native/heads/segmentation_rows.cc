#include "heads/segmentation_rows.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <functional>
#include <vector>

#include "error.h"
#include "heads/row_kernels.h"
#include "runs_on_host.h"
#include "platform.h"

namespace ssn {
namespace {

// Rows are reduced in chunks of this many, whatever the number of threads, and the chunks' sums are added in order:
// the result does not depend on threads. A chunk (256 x 1024 floats) stays in the second-level cache for its two
// passes.
constexpr int64_t kChunk = 256;
constexpr float kSlope = static_cast<float>(kLeakySlope);

int64_t chunks(int64_t rows) { return (rows + kChunk - 1) / kChunk; }

void overChunks(int64_t rows, const std::function<void(int64_t chunk, int64_t begin, int64_t end)>& body) {
  at::parallel_for(0, chunks(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) body(c, c * kChunk, std::min(rows, (c + 1) * kChunk));
  });
}

SSN_VECTORISED void addScaled(float* __restrict sum, const float* __restrict x, float scale, int64_t k) {
  for (int64_t i = 0; i < k; ++i) sum[i] += scale * x[i];
}

SSN_VECTORISED void addSquaredDeviation(float* __restrict sum, const float* __restrict x, const float* __restrict mean,
                                        float scale, int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const float d = x[i] - mean[i];
    sum[i] += scale * d * d;
  }
}

SSN_VECTORISED float leakyDot(const float* __restrict x, const float* __restrict scale, const float* __restrict shift,
                              const float* __restrict w, int64_t k) {
  constexpr int kLanes = 16;  // explicit partial sums: the compiler may not reorder a float reduction itself
  float partial[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= k; i += kLanes)
    for (int j = 0; j < kLanes; ++j) {
      const float a = x[i + j] * scale[i + j] + shift[i + j];
      partial[j] += (a > 0 ? a : a * kSlope) * w[i + j];
    }
  float sum = 0;
  for (int j = 0; j < kLanes; ++j) sum += partial[j];
  for (; i < k; ++i) {
    const float a = x[i] * scale[i] + shift[i];
    sum += (a > 0 ? a : a * kSlope) * w[i];
  }
  return sum;
}

SSN_VECTORISED void addGradients(float* __restrict dBias, float* __restrict dWeight, float* __restrict dOut,
                                 const float* __restrict x, const float* __restrict mean,
                                 const float* __restrict inverseStd, const float* __restrict weight,
                                 const float* __restrict bias, const float* __restrict w, float gradient, int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const float n = (x[i] - mean[i]) * inverseStd[i];
    const float a = weight[i] * n + bias[i];
    const float slope = a > 0 ? 1.0f : kSlope;
    const float g = gradient * w[i] * slope;
    dBias[i] += g;
    dWeight[i] += g * n;
    dOut[i] += gradient * a * slope;
  }
}

SSN_VECTORISED void inputGradient(float* __restrict x, const float* __restrict mean, const float* __restrict inverseStd,
                                  const float* __restrict weight, const float* __restrict bias,
                                  const float* __restrict w, const float* __restrict meanBias,
                                  const float* __restrict meanWeight, float gradient, float multiplicity, int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const float n = (x[i] - mean[i]) * inverseStd[i];
    const float a = weight[i] * n + bias[i];
    const float g = gradient * w[i] * (a > 0 ? 1.0f : kSlope);
    x[i] = weight[i] * inverseStd[i] * (g - multiplicity * (meanBias[i] + n * meanWeight[i]));
  }
}

at::Tensor fromDouble(const std::vector<double>& values) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  for (size_t i = 0; i < values.size(); ++i) out.data_ptr<float>()[i] = static_cast<float>(values[i]);
  return out;
}

RowStatistics withVariance(const at::Tensor& mean, const at::Tensor& variance, double count) {
  return {mean, (variance + kHeadsBatchNormEps).rsqrt(), variance, count};
}

RowStatistics statisticsOnCpu(const SegmentationRows& x) {
  const int64_t rows = x.rows.size(0), k = x.rows.size(1);
  const float* data = x.rows.data_ptr<float>();
  const float* multiplicity = x.multiplicity.data_ptr<float>();
  // Per chunk: weight, mean, sum of squared deviations; then combined in double (Chan et al.).
  const int64_t n = chunks(rows);
  std::vector<float> means(n * k, 0.0f), deviations(n * k, 0.0f), weights(n, 0.0f);
  overChunks(rows, [&](int64_t c, int64_t begin, int64_t end) {
    float weight = 0;
    float* mean = &means[c * k];
    for (int64_t r = begin; r < end; ++r) {
      if (multiplicity[r] == 0) continue;
      weight += multiplicity[r];
      addScaled(mean, data + r * k, multiplicity[r], k);
    }
    weights[c] = weight;
    if (weight == 0) return;
    for (int64_t i = 0; i < k; ++i) mean[i] /= weight;
    for (int64_t r = begin; r < end; ++r)
      if (multiplicity[r] != 0) addSquaredDeviation(&deviations[c * k], data + r * k, mean, multiplicity[r], k);
  });
  std::vector<double> mean(k, 0.0), deviation(k, 0.0);
  double weight = 0;
  for (int64_t c = 0; c < n; ++c) {
    if (weights[c] == 0) continue;
    const double total = weight + weights[c];
    for (int64_t i = 0; i < k; ++i) {
      const double delta = means[c * k + i] - mean[i];
      mean[i] += delta * weights[c] / total;
      deviation[i] += deviations[c * k + i] + delta * delta * weight * weights[c] / total;
    }
    weight = total;
  }
  for (double& d : deviation) d /= weight;
  return withVariance(fromDouble(mean), fromDouble(deviation), x.count);
}

RowStatistics localStatistics(const SegmentationRows& x) {
  if (runsOnHost(x.rows)) return statisticsOnCpu(x);
  const at::Tensor mean = row_kernels::sums(x.rows, x.multiplicity) / x.count;
  const at::Tensor variance = row_kernels::squaredDeviations(x.rows, x.multiplicity, mean) / x.count;
  return withVariance(mean, variance, x.count);
}

}  // namespace

RowStatistics rowStatistics(const SegmentationRows& x, Group* group) {
  const RowStatistics local = localStatistics(x);
  if (group == nullptr) return local;
  // The ranks' means and variances, combined in double as the chunks are above.
  const int64_t k = local.mean.numel();
  const at::Tensor mine = at::cat({at::full({1}, x.count, at::kDouble), local.mean.to(at::kCPU, at::kDouble),
                                   local.variance.to(at::kCPU, at::kDouble)});
  const at::Tensor all = group->gather(mine);
  std::vector<double> mean(k, 0.0), deviation(k, 0.0);
  double count = 0;
  for (int64_t r = 0; r < all.size(0); ++r) {
    const double* part = all.data_ptr<double>() + r * mine.numel();
    if (part[0] == 0) continue;
    const double total = count + part[0];
    for (int64_t i = 0; i < k; ++i) {
      const double delta = part[1 + i] - mean[i];
      mean[i] += delta * part[0] / total;
      deviation[i] += part[1 + k + i] * part[0] + delta * delta * count * part[0] / total;
    }
    count = total;
  }
  for (double& d : deviation) d /= count;
  return withVariance(fromDouble(mean).to(local.mean.device()), fromDouble(deviation).to(local.mean.device()), count);
}

at::Tensor rowLogits(const SegmentationRows& x, const RowStatistics& statistics, const BatchNorm& norm,
                     const at::Tensor& out) {
  const at::Tensor scale = norm.weight * statistics.inverseStd;
  return leakyLogits(x.rows, scale, norm.bias - statistics.mean * scale, out);
}

at::Tensor leakyLogits(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift, const at::Tensor& out) {
  if (!runsOnHost(x)) return row_kernels::leakyLogits(x, scale, shift, out);
  const int64_t rows = x.size(0), k = x.size(1);
  at::Tensor logits = at::empty({rows}, at::kFloat);
  const float *data = x.data_ptr<float>(), *s = scale.data_ptr<float>(), *b = shift.data_ptr<float>(),
              *w = out.data_ptr<float>();
  float* result = logits.data_ptr<float>();
  overChunks(rows, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) result[r] = leakyDot(data + r * k, s, b, w, k);
  });
  return logits;
}

void addRows(at::Tensor rows, const at::Tensor& added, const at::Tensor& index) {
  const int64_t count = index.numel(), k = rows.size(1);
  float* to = rows.data_ptr<float>();
  const float* from = added.data_ptr<float>();
  const int64_t* row = index.data_ptr<int64_t>();
  // Threads share the channels, so that each has runs of neighbouring ones.
  constexpr int64_t kColumns = 64;
  at::parallel_for(0, (k + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * kColumns, width = std::min(k, end * kColumns) - column;
    for (int64_t i = 0; i < count; ++i) addScaled(to + row[i] * k + column, from + i * k + column, 1.0f, width);
  });
}

RowGradients rowsBackward(SegmentationRows& x, const RowStatistics& statistics, const BatchNorm& norm,
                          const at::Tensor& out, const at::Tensor& gradient, Group* group) {
  if (!runsOnHost(x.rows)) {
    RowGradients grads = row_kernels::leakyGradients(x.rows, statistics, norm, out, gradient);
    const at::Tensor dBias = sumOverRanks(grads.normBias, group), dWeight = sumOverRanks(grads.normWeight, group);
    row_kernels::leakyInputGradient(x.rows, statistics, norm, out, gradient, x.multiplicity, dBias / statistics.count,
                                    dWeight / statistics.count);
    return grads;
  }
  const int64_t rows = x.rows.size(0), k = x.rows.size(1), n = chunks(rows);
  float* data = x.rows.data_ptr<float>();
  const float *multiplicity = x.multiplicity.data_ptr<float>(), *dy = gradient.data_ptr<float>();
  const float *mean = statistics.mean.data_ptr<float>(), *inverseStd = statistics.inverseStd.data_ptr<float>();
  const float *weight = norm.weight.data_ptr<float>(), *bias = norm.bias.data_ptr<float>(), *w = out.data_ptr<float>();
  std::vector<float> partial(n * 3 * k, 0.0f);
  overChunks(rows, [&](int64_t c, int64_t begin, int64_t end) {
    float* p = &partial[c * 3 * k];
    for (int64_t r = begin; r < end; ++r)
      if (dy[r] != 0) addGradients(p, p + k, p + 2 * k, data + r * k, mean, inverseStd, weight, bias, w, dy[r], k);
  });
  std::vector<double> sums(3 * k, 0.0);
  for (int64_t c = 0; c < n; ++c)
    for (int64_t i = 0; i < 3 * k; ++i) sums[i] += partial[c * 3 * k + i];
  const std::vector<double> dBias(sums.begin(), sums.begin() + k), dWeight(sums.begin() + k, sums.begin() + 2 * k),
      dOut(sums.begin() + 2 * k, sums.end());
  if (group != nullptr)
    group->sum(sums.data(), 2 * k);  // the means are over the whole batch, the gradients stay this rank's
  std::vector<float> meanBias(k), meanWeight(k);
  for (int64_t i = 0; i < k; ++i)
    meanBias[i] = static_cast<float>(sums[i] / statistics.count),
    meanWeight[i] = static_cast<float>(sums[k + i] / statistics.count);
  overChunks(rows, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      inputGradient(data + r * k, mean, inverseStd, weight, bias, w, meanBias.data(), meanWeight.data(), dy[r],
                    multiplicity[r], k);
  });
  return {fromDouble(dWeight), fromDouble(dBias), fromDouble(dOut)};
}

}  // namespace ssn
