#include "heads/row_upscale.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "lanes.h"
#include "parallel.h"

namespace ssn {
namespace {

// `runs` sums of the same terms, their inputs `inStride` floats apart, their outputs `outStride`.
template <class R, class T, class O>
SSN_INLINE void combineRuns(const T* in, int64_t inStride, const int64_t* offset, const float* weight, int64_t terms,
                            O* out, int64_t outStride, int64_t runs) {
  for (int64_t r = 0; r < runs; ++r)
    for (int64_t c = 0; c < kRun; c += kSums * R::kLanes) {
      typename R::Lanes sum[kSums] = {};
      addTerms<R>(sum, in + r * inStride + c, offset, weight, terms);
#pragma GCC unroll 8
      for (int64_t j = 0; j < kSums; ++j) R::store(out + r * outStride + c + j * R::kLanes, sum[j]);
    }
}

template <class T, class O = float>
struct Combine {
  using Function = void (*)(const T* in, int64_t inStride, const int64_t* offset, const float* weight, int64_t terms,
                            O* out, int64_t outStride, int64_t runs);
  static void baseline(const T* in, int64_t inStride, const int64_t* offset, const float* weight, int64_t terms, O* out,
                       int64_t outStride, int64_t runs) {
    combineRuns<Baseline>(in, inStride, offset, weight, terms, out, outStride, runs);
  }
#ifdef SSN_AVX2
  SSN_AVX2 static void avx2(const T* in, int64_t inStride, const int64_t* offset, const float* weight, int64_t terms,
                            O* out, int64_t outStride, int64_t runs) {
    combineRuns<Avx2>(in, inStride, offset, weight, terms, out, outStride, runs);
  }
  SSN_AVX512 static void avx512(const T* in, int64_t inStride, const int64_t* offset, const float* weight,
                                int64_t terms, O* out, int64_t outStride, int64_t runs) {
    combineRuns<Avx512>(in, inStride, offset, weight, terms, out, outStride, runs);
  }
  static inline const Function here = forProcessor<Function>(baseline, avx2, avx512);
#else
  static constexpr Function here = baseline;
#endif
};

constexpr int64_t kRows = 8;  // that are made together: they and their inputs stay in the second-level cache

// term(input) -> offset, for the non-zero entries of one row of a matrix; then the output is complete.
template <class Offset>
void addOutput(Terms& terms, const float* row, int64_t stride, int64_t inputs, Offset&& offset) {
  for (int64_t i = 0; i < inputs; ++i) {
    if (row[i * stride] == 0) continue;
    terms.offset.push_back(offset(i));
    terms.weight.push_back(row[i * stride]);
  }
}
void close(Terms& terms) { terms.begin.push_back(static_cast<int64_t>(terms.offset.size())); }

// Reused by the thread's next call; kept as long as the thread, so it is sized for a few rows, or for 128 channels of
// one image.
float* scratch(int64_t floats) {
  static thread_local std::vector<float> buffer;
  if (static_cast<int64_t>(buffer.size()) < floats) buffer.resize(floats);
  return buffer.data();
}

}  // namespace

RowUpscale::RowUpscale(const std::vector<LayerShape>& layers, const std::vector<at::Tensor>& rows,
                       const std::vector<at::Tensor>& columns, int64_t side, int64_t channels)
    : side_(side), channels_(channels), height_(rows[0].size(0)), width_(columns[0].size(0)) {
  TORCH_INTERNAL_ASSERT(channels % kRun == 0);
  const int64_t cell = side * side * channels;
  for (size_t l = 0; l < layers.size(); ++l) {
    Layer layer{layers[l].height, layers[l].width, {}, {}, {}};
    const at::Tensor u = rows[l].contiguous(), v = columns[l].contiguous();
    const float *down = u.data_ptr<float>(), *across = v.data_ptr<float>();
    const int64_t hs = layer.height * side, ws = layer.width * side;
    for (int64_t y = 0; y < height_; ++y)
      addOutput(layer.down, down + y * hs, 1, hs,
                [&](int64_t i) { return i / side * layer.width * cell + i % side * channels; }),
          close(layer.down);
    for (int64_t i = 0; i < hs; ++i)
      addOutput(layer.downBack, down + i, hs, height_, [&](int64_t y) { return y; }), close(layer.downBack);
    for (int64_t i = 0; i < ws; ++i)
      addOutput(layer.acrossBack, across + i, ws, width_, [&](int64_t x) { return x * channels; }),
          close(layer.acrossBack);
    rowFloats_ += ws * channels;
    layers_.push_back(std::move(layer));
  }
  for (int64_t x = 0; x < width_; ++x) {
    int64_t block = 0;
    for (size_t l = 0; l < layers.size(); ++l) {
      const at::Tensor v = columns[l].contiguous();
      addOutput(across_, v.data_ptr<float>() + x * v.size(1), 1, v.size(1),
                [&](int64_t i) { return block + i * channels; });
      block += v.size(1) * channels;
    }
    close(across_);
  }
}

// Some rows together: the cells of the small maps that they have in common are read once.
template <class T>
void RowUpscale::downRows(const std::vector<const T*>& z, int64_t first, int64_t count, float* rows) const {
  // The runs of a row lie one behind the other, but for the shifted form, where the other dy lie between them.
  const int64_t stride = side_ * kRun;
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const int64_t runs = layer.width * side_ * channels_ / kRun, together = count == 1 ? runs : 1;
    for (int64_t run = 0; run < runs; run += together)
      for (int64_t y = first; y < first + count; ++y)
        Combine<T>::here(z[l] + run * stride, stride, layer.down.offsets(y), layer.down.weights(y), layer.down.count(y),
                         rows + (y - first) * rowFloats_ + run * kRun, kRun, together);
    rows += runs * kRun;
  }
}

void RowUpscale::down(const std::vector<at::Tensor>& z, int64_t y, float* row) const {
  if (z[0].scalar_type() == at::kBFloat16) {
    std::vector<const at::BFloat16*> data;
    for (const at::Tensor& t : z) data.push_back(t.data_ptr<at::BFloat16>());
    downRows(data, y, 1, row);
  } else {
    std::vector<const float*> data;
    for (const at::Tensor& t : z) data.push_back(t.data_ptr<float>());
    downRows(data, y, 1, row);
  }
}

void RowUpscale::forward(const std::vector<at::Tensor>& z, at::Tensor out) const {
  if (z[0].scalar_type() == at::kBFloat16) {
    forwardImages<at::BFloat16>(z, std::move(out));
  } else {
    forwardImages<float>(z, std::move(out));
  }
}

template <class T>
void RowUpscale::forwardImages(const std::vector<at::Tensor>& z, at::Tensor out) const {
  float* to = out.data_ptr<float>();
  forEachShared(out.size(0), [&](int64_t i) {
    std::vector<const T*> data;
    for (size_t l = 0; l < layers_.size(); ++l)
      data.push_back(z[l].data_ptr<T>() + i * layers_[l].floats(side_, channels_));
    at::parallel_for(0, (height_ + kRows - 1) / kRows, 1, [&](int64_t begin, int64_t end) {
      float* rows = scratch(kRows * rowFloats_);
      for (int64_t part = begin; part < end; ++part) {
        const int64_t first = part * kRows, count = std::min(kRows, height_ - first);
        downRows(data, first, count, rows);
        for (int64_t y = 0; y < count; ++y)
          for (int64_t x = 0; x < width_; ++x)
            Combine<float>::here(rows + y * rowFloats_, kRun, across_.offsets(x), across_.weights(x), across_.count(x),
                                 to + ((i * height_ + first + y) * width_ + x) * channels_, kRun, channels_ / kRun);
      }
    });
  });
}

void RowUpscale::adjoint(const at::Tensor& gradient, const std::vector<at::Tensor>& out) const {
  if (out[0].scalar_type() == at::kBFloat16) {
    adjointImages<at::BFloat16>(gradient, out);
  } else {
    adjointImages<float>(gradient, out);
  }
}

template <class T>
void RowUpscale::adjointImages(const at::Tensor& gradient, const std::vector<at::Tensor>& out) const {
  const float* from = gradient.data_ptr<float>();
  // A piece of the work is one run of channels for one dx: first across, row by row, into columns of H x 128, then down
  // each column, from H to h_l x side (dy). The columns of an image of 256x256 fit into the second-level cache, one
  // into the first.
  const int64_t runs = channels_ / kRun, cell = side_ * side_ * channels_;
  const int64_t column = (height_ + 1) * kRun;  // one more, so that columns do not lie at multiples of a cache's size
  int64_t columns = 0, most = 0;                // most: terms of one sum
  for (const Layer& layer : layers_) {
    columns += layer.width;
    for (int64_t row = 0; row < layer.height * side_; ++row) most = std::max(most, layer.downBack.count(row));
  }
  forEachShared(gradient.size(0), [&](int64_t i) {
    const float* image = from + i * height_ * width_ * channels_;
    at::parallel_for(0, side_ * runs, 1, [&](int64_t begin, int64_t end) {
      float* narrow = scratch(columns * column);
      std::vector<int64_t> offsets(most);
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t dx = piece / runs, channel = piece % runs * kRun;
        for (int64_t y = 0; y < height_; ++y) {
          float* to = narrow + y * kRun;
          for (const Layer& layer : layers_)
            for (int64_t w = 0; w < layer.width; ++w, to += column) {
              const int64_t at = w * side_ + dx;
              Combine<float>::here(image + y * width_ * channels_ + channel, 0, layer.acrossBack.offsets(at),
                                   layer.acrossBack.weights(at), layer.acrossBack.count(at), to, 0, 1);
            }
        }
        const float* next = narrow;
        for (size_t l = 0; l < layers_.size(); ++l) {
          const Layer& layer = layers_[l];
          T* cells = out[l].data_ptr<T>() + i * layer.floats(side_, channels_) + dx * side_ * channels_ + channel;
          for (int64_t w = 0; w < layer.width; ++w, next += column)
            for (int64_t row = 0; row < layer.height * side_; ++row) {  // (h, dy)
              const int64_t terms = layer.downBack.count(row), *y = layer.downBack.offsets(row);
              for (int64_t t = 0; t < terms; ++t) offsets[t] = y[t] * kRun;
              Combine<float, T>::here(next, 0, offsets.data(), layer.downBack.weights(row), terms,
                                      cells + (row / side_ * layer.width + w) * cell + row % side_ * channels_, 0, 1);
            }
        }
      }
    });
  });
}

}  // namespace ssn
