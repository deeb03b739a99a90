#include "heads/folded_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "platform.h"

namespace ssn {
namespace {

// Sixteen floats in the registers that the instruction set at hand has.
constexpr int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));

// A run of channels that is summed in registers.
constexpr int64_t kRun = 8;  // x kLanes
static_assert(kClassificationHidden == kRun * kLanes && kSegmentationHidden % (kRun * kLanes) == 0);

#define SSN_INLINE inline __attribute__((always_inline))

SSN_INLINE Lanes load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
SSN_INLINE Lanes load(const at::BFloat16* p) { return reinterpret_cast<Lanes>(__builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words) << 16); }
SSN_INLINE void store(float* p, const Lanes& v) { *reinterpret_cast<Unaligned*>(p) = v; }

// sum += weight[i] in[offset[i]...]
template <class T>
SSN_INLINE void addTerms(Lanes (&sum)[kRun], const T* in, const int64_t* offset, const float* weight, int64_t terms) {
  for (int64_t i = 0; i < terms; ++i) {
    const T* p = in + offset[i];
    const float w = weight[i];
#pragma GCC unroll 8
    for (int64_t j = 0; j < kRun; ++j) sum[j] += w * load(p + j * kLanes);
  }
}

template <class T>
SSN_INLINE void combineRuns(const T* in, int64_t stride, const int64_t* offset, const float* weight, int64_t terms, float* out, int64_t runs) {
  for (int64_t r = 0; r < runs; ++r) {
    Lanes sum[kRun] = {};
    addTerms(sum, in + r * stride, offset, weight, terms);
#pragma GCC unroll 8
    for (int64_t j = 0; j < kRun; ++j) store(out + (r * kRun + j) * kLanes, sum[j]);
  }
}

// Runs of 128 channels, `stride` apart in the input, one behind the other in the output.
SSN_VECTORISED void combine(const float* in, int64_t stride, const int64_t* offset, const float* weight, int64_t terms, float* out, int64_t runs) {
  combineRuns(in, stride, offset, weight, terms, out, runs);
}
SSN_VECTORISED void combine(const at::BFloat16* in, int64_t stride, const int64_t* offset, const float* weight, int64_t terms, float* out, int64_t runs) {
  combineRuns(in, stride, offset, weight, terms, out, runs);
}

// One position: leaky(scale x + shift) . out over the channels, x = the weighted terms.
SSN_VECTORISED float leakyTerms(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* scale, const float* shift, const float* out) {
  constexpr float kSlope = static_cast<float>(kLeakySlope);
  Lanes dot = {};
  for (int64_t c = 0; c < kSegmentationHidden; c += kRun * kLanes) {
    Lanes sum[kRun] = {};
    addTerms(sum, row + c, offset, weight, terms);
#pragma GCC unroll 8
    for (int64_t j = 0; j < kRun; ++j) {
      const int64_t at = c + j * kLanes;
      const Lanes a = sum[j] * load(scale + at) + load(shift + at);
      const Lanes leaked = a * kSlope;
      dot += (a > leaked ? a : leaked) * load(out + at);
    }
  }
  float total = 0;
  for (int64_t j = 0; j < kLanes; ++j) total += dot[j];
  return total;
}

// One position of the classification head: bias, the weighted terms, the map's convolution, ReLU; into maximum and sum.
// window: the 5x5 neighbourhood's first value in the padded map, whose lines are `line` apart.
SSN_VECTORISED void poolTerms(const float* row, const int64_t* offset, const float* weight, int64_t terms, const float* bias, const float* window, int64_t line, const float* kernel, float* maximum,
                              float* total) {
  Lanes sum[kRun];
#pragma GCC unroll 8
  for (int64_t j = 0; j < kRun; ++j) sum[j] = load(bias + j * kLanes);
  addTerms(sum, row, offset, weight, terms);
  for (int64_t dx = 0; dx < kTapSide; ++dx)
    for (int64_t dy = 0; dy < kTapSide; ++dy) {
      const float m = window[dy * line + dx];
      const float* k = kernel + (dx * kTapSide + dy) * kClassificationHidden;
#pragma GCC unroll 8
      for (int64_t j = 0; j < kRun; ++j) sum[j] += m * load(k + j * kLanes);
    }
#pragma GCC unroll 8
  for (int64_t j = 0; j < kRun; ++j) {
    const Lanes zero = {};
    const Lanes y = sum[j] > zero ? sum[j] : zero;
    const Lanes best = load(maximum + j * kLanes);
    store(maximum + j * kLanes, y > best ? y : best);
    store(total + j * kLanes, load(total + j * kLanes) + y);
  }
}

std::vector<float> paddedMap(const at::Tensor& map, int64_t height, int64_t width) {
  constexpr int64_t kPad = kTapSide / 2;
  const int64_t line = width + 2 * kPad;
  std::vector<float> out((height + 2 * kPad) * line, 0.0f);
  for (int64_t y = 0; y < height; ++y) std::memcpy(&out[(y + kPad) * line + kPad], map.data_ptr<float>() + y * width, width * sizeof(float));
  return out;
}

}  // namespace

FoldedRows::Form FoldedRows::form(const LowResolutionGeometry& geometry, int64_t side, int64_t channels) {
  Form out{side, channels, {}, {}, 0, {}};
  const auto& taps = geometry.taps();
  for (size_t l = 0; l < taps.size(); ++l) {
    const AxisMap& rows = geometry.rowMap(side, l);  // H x (h_l side)
    Terms down;
    for (int64_t y = 0; y < geometry.height(); ++y) {
      down.begin.push_back(static_cast<int64_t>(down.offset.size()));
      rows.forTerms(y, [&](int64_t i, float value) {
        down.offset.push_back((i / side * taps[l].width * side * side + i % side) * channels);
        down.weight.push_back(value);
      });
    }
    down.begin.push_back(static_cast<int64_t>(down.offset.size()));
    out.down.push_back(std::move(down));
    out.pieces.push_back(taps[l].width * side);
  }
  for (int64_t x = 0; x < geometry.width(); ++x) {
    out.across.begin.push_back(static_cast<int64_t>(out.across.offset.size()));
    int64_t row = 0;
    for (size_t l = 0; l < taps.size(); ++l) {
      geometry.columnMap(side, l).forTerms(x, [&](int64_t i, float value) {
        out.across.offset.push_back(row + i * channels);
        out.across.weight.push_back(value);
      });
      row += out.pieces[l] * channels;
    }
    out.rowFloats = row;
  }
  out.across.begin.push_back(static_cast<int64_t>(out.across.offset.size()));
  return out;
}

FoldedRows::FoldedRows(const LowResolutionGeometry& geometry)
    : height_(geometry.height()), width_(geometry.width()), segmentation_(form(geometry, 1, kSegmentationHidden)), classification_(form(geometry, kTapSide, kClassificationHidden)) {}

// Output row y, not yet upscaled across: all taps' runs one behind the other.
void FoldedRows::combineDown(const Form& form, const std::vector<at::Tensor>& product, int64_t y, float* row) {
  for (size_t l = 0; l < product.size(); ++l) {
    const Terms& terms = form.down[l];
    const int64_t begin = terms.begin[y], count = terms.begin[y + 1] - begin;
    constexpr int64_t kRunFloats = kRun * kLanes;
    const int64_t runs = form.pieces[l] * form.channels / kRunFloats;
    // A run of the shifted form is followed by those of the other four dy.
    const int64_t stride = form.side * kRunFloats;
    if (product[l].scalar_type() == at::kBFloat16)
      combine(product[l].data_ptr<at::BFloat16>(), stride, &terms.offset[begin], &terms.weight[begin], count, row, runs);
    else
      combine(product[l].data_ptr<float>(), stride, &terms.offset[begin], &terms.weight[begin], count, row, runs);
    row += runs * kRunFloats;
  }
}

at::Tensor FoldedRows::segmentationLogits(const std::vector<at::Tensor>& z, const at::Tensor& scale, const at::Tensor& shift, const at::Tensor& out) const {
  at::Tensor map = at::empty({height_, width_}, at::kFloat);
  float* to = map.data_ptr<float>();
  const float *s = scale.data_ptr<float>(), *b = shift.data_ptr<float>(), *w = out.data_ptr<float>();
  const Terms& across = segmentation_.across;
  at::parallel_for(0, height_, 1, [&](int64_t first, int64_t last) {
    std::vector<float> row(segmentation_.rowFloats);
    for (int64_t y = first; y < last; ++y) {
      combineDown(segmentation_, z, y, row.data());
      for (int64_t x = 0; x < width_; ++x) {
        const int64_t begin = across.begin[x];
        to[y * width_ + x] = leakyTerms(row.data(), &across.offset[begin], &across.weight[begin], across.begin[x + 1] - begin, s, b, w);
      }
    }
  });
  return map;
}

at::Tensor FoldedRows::classificationPool(const std::vector<at::Tensor>& t, const at::Tensor& bias, const at::Tensor& map, const at::Tensor& mapKernel) const {
  constexpr int64_t kHidden = kClassificationHidden;
  const std::vector<float> padded = paddedMap(map, height_, width_);
  const int64_t line = width_ + kTapSide - 1;
  const float *b = bias.data_ptr<float>(), *kernel = mapKernel.data_ptr<float>();
  const Terms& across = classification_.across;
  // Each row has its own maximum and sum, added in order: the result does not depend on the number of threads.
  std::vector<float> maxima(height_ * kHidden, 0.0f), sums(height_ * kHidden, 0.0f);
  at::parallel_for(0, height_, 1, [&](int64_t first, int64_t last) {
    std::vector<float> row(classification_.rowFloats);
    for (int64_t y = first; y < last; ++y) {
      combineDown(classification_, t, y, row.data());
      for (int64_t x = 0; x < width_; ++x) {
        const int64_t begin = across.begin[x];
        poolTerms(row.data(), &across.offset[begin], &across.weight[begin], across.begin[x + 1] - begin, b + (y * width_ + x) * kHidden, &padded[y * line + x], line, kernel, &maxima[y * kHidden],
                  &sums[y * kHidden]);
      }
    }
  });
  at::Tensor pooled = at::empty({2 * kHidden}, at::kFloat);
  float* out = pooled.data_ptr<float>();
  for (int64_t k = 0; k < kHidden; ++k) {
    float maximum = 0;
    double sum = 0;
    for (int64_t y = 0; y < height_; ++y) {
      maximum = std::max(maximum, maxima[y * kHidden + k]);
      sum += sums[y * kHidden + k];
    }
    out[k] = maximum;
    out[kHidden + k] = static_cast<float>(sum / static_cast<double>(height_ * width_));
  }
  return pooled;
}

}  // namespace ssn
