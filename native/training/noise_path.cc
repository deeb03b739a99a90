#include "training/noise_path.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>

#include <utility>

#include "heads/parameters.h"
#include "kernels/run.h"
#include "kernels/training.h"
#include "lanes.h"
#include "parallel.h"
#include "runs_on_host.h"
#include "training/products.h"

namespace ssn {
namespace {

static_assert(kClassificationHidden == kRun);
constexpr int64_t kReach = kTapSide / 2;

// to[i] = base[i] + weight from[i]
SSN_VECTORISED void scaledSum(float* __restrict to, const float* __restrict base, const float* __restrict from,
                              float weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = base[i] + weight * from[i];
}

SSN_VECTORISED void addWeighted(float* __restrict to, const float* __restrict from, float weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] += weight * from[i];
}

// out[0..127] += sum of weight[i] in[offset[i]...]
template <class R>
SSN_INLINE void addRun(const float* in, const int64_t* offset, const float* weight, int64_t terms, float* out) {
  for (int64_t c = 0; c < kRun; c += kSums * R::kLanes) {
    typename R::Lanes sum[kSums];
#pragma GCC unroll 8
    for (int64_t j = 0; j < kSums; ++j) sum[j] = R::load(out + c + j * R::kLanes);
    addTerms<R>(sum, in + c, offset, weight, terms);
#pragma GCC unroll 8
    for (int64_t j = 0; j < kSums; ++j) R::store(out + c + j * R::kLanes, sum[j]);
  }
}

using AddRun = void (*)(const float* in, const int64_t* offset, const float* weight, int64_t terms, float* out);
void addRunBaseline(const float* in, const int64_t* offset, const float* weight, int64_t terms, float* out) {
  addRun<Baseline>(in, offset, weight, terms, out);
}
#ifdef SSN_AVX2
SSN_AVX2 void addRunAvx2(const float* in, const int64_t* offset, const float* weight, int64_t terms, float* out) {
  addRun<Avx2>(in, offset, weight, terms, out);
}
SSN_AVX512 void addRunAvx512(const float* in, const int64_t* offset, const float* weight, int64_t terms, float* out) {
  addRun<Avx512>(in, offset, weight, terms, out);
}
const AddRun addRunHere = forProcessor<AddRun>(addRunBaseline, addRunAvx2, addRunAvx512);
#else
constexpr AddRun addRunHere = addRunBaseline;
#endif

}  // namespace

NoisePath::NoisePath(Noise noise, const ActivePositions& active, at::ScalarType precision)
    : vectors_(noise.vectors.to(precision)),
      index_(std::move(noise.index)),
      weight_(std::move(noise.weight)),
      active_(active),
      precision_(precision) {
  if (!shared() || runsOnHost(vectors_)) return;
  at::Tensor sorted;
  std::tie(sorted, order_) = at::sort(index_, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  begin_ = at::searchsorted(sorted, at::arange(vectors_.size(0) + 1, sorted.options()));
}

void NoisePath::forwardRows(const at::Tensor& w1, const at::Tensor& base, at::Tensor noisy) const {
  const int64_t rows = noisy.size(0), k = noisy.size(1), sharedRows = base.size(0);
  if (rows == 0) return;
  if (!shared()) {
    if (precision_ == at::kFloat) {
      at::mm_out(noisy, vectors_, w1.t());
    } else {
      noisy.copy_(product(vectors_, w1.t(), precision_));
    }
    active_.addShared(noisy, base);
    return;
  }
  const at::Tensor products = product(vectors_, w1.t(), precision_);
  const float *from = products.data_ptr<float>(), *baseRows = base.data_ptr<float>(),
              *weight = weight_.data_ptr<float>();
  const int32_t* index = index_.data_ptr<int32_t>();
  const int64_t* cells = active_.cells().data_ptr<int64_t>();
  float* to = noisy.data_ptr<float>();
  if (!runsOnHost(noisy)) {
    forEach(noisy.device(), rows * (k / 4),
            kernels::AddChosen{to, baseRows, from, index, weight, cells, sharedRows, k});
    return;
  }
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      scaledSum(to + p * k, baseRows + cells[p] % sharedRows * k, from + index[p] * k, weight[p], k);
  });
}

at::Tensor NoisePath::sumRows(const at::Tensor& noisy) const {
  const int64_t rows = noisy.size(0), k = noisy.size(1), vectors = vectors_.size(0);
  const float *from = noisy.data_ptr<float>(), *weight = weight_.data_ptr<float>();
  if (!runsOnHost(noisy)) {
    at::Tensor out = at::empty({vectors, k}, noisy.options());
    forEach(noisy.device(), vectors * (k / 4),
            kernels::SumChosen{from, weight, order_.data_ptr<int64_t>(), begin_.data_ptr<int64_t>(), k,
                               out.data_ptr<float>()});
    return out;
  }
  at::Tensor out = at::zeros({vectors, k}, noisy.options());
  const int32_t* index = index_.data_ptr<int32_t>();
  float* to = out.data_ptr<float>();
  // Threads share the channels, so that no two add to one place and the order of a sum is fixed.
  at::parallel_for(0, k / kRun, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run)
      for (int64_t p = 0; p < rows; ++p)
        addWeighted(to + index[p] * k + run * kRun, from + p * k + run * kRun, weight[p], kRun);
  });
  return out;
}

at::Tensor NoisePath::backwardRows(const at::Tensor& noisy) const {
  return product(shared() ? sumRows(noisy).t() : noisy.t(), vectors_, precision_);
}

void NoisePath::forwardTaps(const at::Tensor& kernel, at::Tensor planes) const {
  const int64_t samples = planes.size(0), height = planes.size(1), width = planes.size(2), k = planes.size(3);
  if (active_.rows() == 0) return;
  if (!shared()) {
    active_.inPieces(kTaps * k, pieceFloats(planes), [&](int64_t from, int64_t to) {
      active_.addTaps(planes, product(vectors_.slice(0, from, to), kernel.t(), precision_), from, to);
    });
    return;
  }
  const at::Tensor products = product(vectors_, kernel.t(), precision_);
  const float *from = products.data_ptr<float>(), *weight = weight_.data_ptr<float>();
  const int32_t *index = index_.data_ptr<int32_t>(), *active = active_.active().data_ptr<int32_t>();
  float* to = planes.data_ptr<float>();
  if (!runsOnHost(planes)) {
    forEach(planes.device(), planes.numel() / 4,
            kernels::AddChosenTaps{to, from, index, weight, active, height, width, k});
    return;
  }
  at::parallel_for(0, samples * height, 4, [&](int64_t begin, int64_t end) {
    int64_t offsets[kTaps];
    float weights[kTaps];
    for (int64_t line = begin; line < end; ++line) {
      const int64_t y = line % height, first = std::max(-kReach, -y), last = std::min(kReach, height - 1 - y);
      for (int64_t x = 0; x < width; ++x) {
        int64_t terms = 0;
        for (int64_t dx = std::max(-kReach, -x); dx <= std::min(kReach, width - 1 - x); ++dx)
          for (int64_t dy = first; dy <= last; ++dy) {
            const int32_t p = active[(line + dy) * width + x + dx];
            if (p < 0) continue;
            offsets[terms] = (index[p] * kTaps + (dx + kReach) * kTapSide + dy + kReach) * k;
            weights[terms++] = weight[p];
          }
        if (terms > 0) addRunHere(from, offsets, weights, terms, to + (line * width + x) * k);
      }
    }
  });
}

at::Tensor NoisePath::sumTaps(const at::Tensor& planes) const {
  const int64_t height = planes.size(1), width = planes.size(2), k = planes.size(3), vectors = vectors_.size(0),
                rows = active_.rows();
  const float *from = planes.data_ptr<float>(), *weight = weight_.data_ptr<float>();
  const int64_t* cells = active_.cells().data_ptr<int64_t>();
  if (!runsOnHost(planes)) {
    at::Tensor out = at::empty({vectors, kTaps * k}, planes.options());
    forEach(planes.device(), vectors * kTaps * (k / 4),
            kernels::SumChosenTaps{from, weight, cells, order_.data_ptr<int64_t>(), begin_.data_ptr<int64_t>(), height,
                                   width, k, out.data_ptr<float>()});
    return out;
  }
  at::Tensor out = at::zeros({vectors, kTaps * k}, planes.options());
  const int32_t* index = index_.data_ptr<int32_t>();
  float* to = out.data_ptr<float>();
  // Threads share the taps; the sums of one tap stay in the second-level cache.
  at::parallel_for(0, kTaps, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tap = begin; tap < end; ++tap) {
      const int64_t dx = tap / kTapSide - kReach, dy = tap % kTapSide - kReach;
      for (int64_t p = 0; p < rows; ++p) {
        const int64_t x = cells[p] % width - dx, y = cells[p] / width % height - dy;
        if (x < 0 || x >= width || y < 0 || y >= height) continue;
        addWeighted(to + (index[p] * kTaps + tap) * k, from + (cells[p] - dy * width - dx) * k, weight[p], k);
      }
    }
  });
  return out;
}

at::Tensor NoisePath::backwardTaps(const at::Tensor& planes) const {
  if (shared()) return product(sumTaps(planes).t(), vectors_, precision_);
  const int64_t k = planes.size(3);
  at::Tensor out = at::zeros({kTaps * k, vectors_.size(1)}, planes.options());
  active_.inPieces(kTaps * k, pieceFloats(planes), [&](int64_t from, int64_t to) {
    addProduct(out, active_.gatherTaps(planes, from, to).t(), vectors_.slice(0, from, to), precision_);
  });
  return out;
}

}  // namespace ssn
