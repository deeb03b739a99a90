#include "heads/folded_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "heads/parameters.h"
#include "lanes.h"

namespace ssn {
namespace {

static_assert(kClassificationHidden == kRun && kSegmentationHidden % kRun == 0);

using Leaky = float (*)(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* scale,
                        const float* shift, const float* out);

// One position: leaky(scale x + shift) . out over the channels, x = the weighted terms.
template <class R>
SSN_INLINE float leakyTerms(const float* row, const int64_t* offset, const float* weight, int64_t terms,
                            const float* scale, const float* shift, const float* out) {
  constexpr float kSlope = static_cast<float>(kLeakySlope);
  typename R::Lanes dot = {};
  for (int64_t c = 0; c < kSegmentationHidden; c += kSums * R::kLanes) {
    typename R::Lanes sum[kSums] = {};
    addTerms<R>(sum, row + c, offset, weight, terms);
#pragma GCC unroll 8
    for (int64_t j = 0; j < kSums; ++j) {
      const int64_t at = c + j * R::kLanes;
      const typename R::Lanes a = sum[j] * R::load(scale + at) + R::load(shift + at);
      const typename R::Lanes leaked = a * kSlope;
      dot += (a > leaked ? a : leaked) * R::load(out + at);
    }
  }
  float total = 0;
  for (int64_t j = 0; j < R::kLanes; ++j) total += dot[j];
  return total;
}

using Pool = void (*)(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* bias,
                      const float* window, int64_t line, const float* kernel, float* maximum, float* total);

// One position of the classification head: bias, the weighted terms, the map's convolution, ReLU; into maximum and sum.
// window: the 5x5 neighbourhood's first value in the padded map, whose lines are `line` apart.
template <class R>
SSN_INLINE void poolTerms(const float* row, const int64_t* offset, const float* weight, int64_t terms,
                          const float* bias, const float* window, int64_t line, const float* kernel, float* maximum,
                          float* total) {
  for (int64_t c = 0; c < kClassificationHidden; c += kSums * R::kLanes) {
    typename R::Lanes sum[kSums];
#pragma GCC unroll 8
    for (int64_t j = 0; j < kSums; ++j) sum[j] = R::load(bias + c + j * R::kLanes);
    addTerms<R>(sum, row + c, offset, weight, terms);
    for (int64_t dx = 0; dx < kTapSide; ++dx)
      for (int64_t dy = 0; dy < kTapSide; ++dy) {
        const float m = window[dy * line + dx];
        const float* k = kernel + (dx * kTapSide + dy) * kClassificationHidden + c;
#pragma GCC unroll 8
        for (int64_t j = 0; j < kSums; ++j) sum[j] += m * R::load(k + j * R::kLanes);
      }
#pragma GCC unroll 8
    for (int64_t j = 0; j < kSums; ++j) {
      const int64_t at = c + j * R::kLanes;
      const typename R::Lanes zero = {};
      const typename R::Lanes y = sum[j] < zero ? zero : sum[j], best = R::load(maximum + at);
      R::store(maximum + at, y > best ? y : best);
      R::store(total + at, R::load(total + at) + y);
    }
  }
}

struct Functions {
  Leaky leaky;
  Pool pool;
};

float leakyBaseline(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* scale,
                    const float* shift, const float* out) {
  return leakyTerms<Baseline>(row, offset, weight, terms, scale, shift, out);
}
void poolBaseline(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* bias,
                  const float* window, int64_t line, const float* kernel, float* maximum, float* total) {
  poolTerms<Baseline>(row, offset, weight, terms, bias, window, line, kernel, maximum, total);
}

#ifdef SSN_AVX2
SSN_AVX2 float leakyAvx2(const float* row, const int64_t* offset, const float* weight, int64_t terms,
                         const float* scale, const float* shift, const float* out) {
  return leakyTerms<Avx2>(row, offset, weight, terms, scale, shift, out);
}
SSN_AVX2 void poolAvx2(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* bias,
                       const float* window, int64_t line, const float* kernel, float* maximum, float* total) {
  poolTerms<Avx2>(row, offset, weight, terms, bias, window, line, kernel, maximum, total);
}
SSN_AVX512 float leakyAvx512(const float* row, const int64_t* offset, const float* weight, int64_t terms,
                             const float* scale, const float* shift, const float* out) {
  return leakyTerms<Avx512>(row, offset, weight, terms, scale, shift, out);
}
SSN_AVX512 void poolAvx512(const float* row, const int64_t* offset, const float* weight, int64_t terms,
                           const float* bias, const float* window, int64_t line, const float* kernel, float* maximum,
                           float* total) {
  poolTerms<Avx512>(row, offset, weight, terms, bias, window, line, kernel, maximum, total);
}
const Functions functions =
    forProcessor<Functions>({leakyBaseline, poolBaseline}, {leakyAvx2, poolAvx2}, {leakyAvx512, poolAvx512});
#else
const Functions functions{leakyBaseline, poolBaseline};
#endif

std::vector<float> paddedMap(const at::Tensor& map, int64_t height, int64_t width) {
  constexpr int64_t kPad = kTapSide / 2;
  const int64_t line = width + 2 * kPad;
  std::vector<float> out((height + 2 * kPad) * line, 0.0f);
  for (int64_t y = 0; y < height; ++y)
    std::memcpy(&out[(y + kPad) * line + kPad], map.data_ptr<float>() + y * width, width * sizeof(float));
  return out;
}

}  // namespace

at::Tensor segmentationLogits(const RowUpscale& upscale, const std::vector<at::Tensor>& z, const at::Tensor& scale,
                              const at::Tensor& shift, const at::Tensor& out) {
  const int64_t height = upscale.height(), width = upscale.width();
  at::Tensor map = at::empty({height, width}, at::kFloat);
  float* to = map.data_ptr<float>();
  const float *s = scale.data_ptr<float>(), *b = shift.data_ptr<float>(), *w = out.data_ptr<float>();
  const Terms& across = upscale.across();
  at::parallel_for(0, height, 1, [&](int64_t first, int64_t last) {
    std::vector<float> row(upscale.rowFloats());
    for (int64_t y = first; y < last; ++y) {
      upscale.down(z, y, row.data());
      for (int64_t x = 0; x < width; ++x)
        to[y * width + x] = functions.leaky(row.data(), across.offsets(x), across.weights(x), across.count(x), s, b, w);
    }
  });
  return map;
}

at::Tensor pooledClassification(const RowUpscale& upscale, const std::vector<at::Tensor>& t, const at::Tensor& bias,
                                const at::Tensor& map, const at::Tensor& mapKernel) {
  constexpr int64_t kHidden = kClassificationHidden;
  const int64_t height = upscale.height(), width = upscale.width(), line = width + kTapSide - 1;
  const std::vector<float> padded = paddedMap(map, height, width);
  const float *b = bias.data_ptr<float>(), *kernel = mapKernel.data_ptr<float>();
  const Terms& across = upscale.across();
  // Each row has its own maximum and sum, added in order: the result does not depend on the number of threads.
  std::vector<float> maxima(height * kHidden, 0.0f), sums(height * kHidden, 0.0f);
  at::parallel_for(0, height, 1, [&](int64_t first, int64_t last) {
    std::vector<float> row(upscale.rowFloats());
    for (int64_t y = first; y < last; ++y) {
      upscale.down(t, y, row.data());
      for (int64_t x = 0; x < width; ++x)
        functions.pool(row.data(), across.offsets(x), across.weights(x), across.count(x), b + (y * width + x) * kHidden,
                       &padded[y * line + x], line, kernel, &maxima[y * kHidden], &sums[y * kHidden]);
    }
  });
  at::Tensor pooled = at::empty({2 * kHidden}, at::kFloat);
  float* out = pooled.data_ptr<float>();
  for (int64_t k = 0; k < kHidden; ++k) {
    float maximum = 0;
    double sum = 0;
    for (int64_t y = 0; y < height; ++y) {
      maximum = std::max(maximum, maxima[y * kHidden + k]);
      sum += sums[y * kHidden + k];
    }
    out[k] = maximum;
    out[kHidden + k] = static_cast<float>(sum / static_cast<double>(height * width));
  }
  return pooled;
}

}  // namespace ssn
