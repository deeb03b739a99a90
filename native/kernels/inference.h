// The kernels of inference: what lies between the wide matrix products, which libtorch does (docs/method.md, Features,
// Heads, Low-resolution heads, Inference). Everything is channels-last; T is the element type of the products, sums are
// float32.
#pragma once

#include "images/normalise.h"
#include "kernels/element.h"

namespace ssn::kernels {

// RGB bytes to the backbone's input. Per byte.
template <class T>
struct Normalise {
  const uint8_t* rgb;
  T* out;

  SSN_KERNEL void operator()(int64_t i) const { out[i] = static_cast<T>(normalised(rgb[i], static_cast<int>(i % 3))); }
};

// x = relu(x + bias + residual) behind a convolution. Per four channels. `residual` may be null.
template <class T>
struct Epilogue {
  T* x;
  const T* bias;
  const T* residual;
  int64_t channels;
  bool relu;

  SSN_KERNEL void operator()(int64_t i) const {
    Four sum = load(x + 4 * i);
    addScaled(sum, 1.0f, load(bias + 4 * i % channels));
    if (residual != nullptr) addScaled(sum, 1.0f, load(residual + 4 * i));
    if (relu)
      for (float& v : sum.v) v = v < 0 ? 0 : v;  // not a number stays one
    store(x + 4 * i, sum);
  }
};

// The columns of upscale-and-pool for one layer: z is n x h x w x (side, side, K), `wide` n x R x W x K, of which this
// layer has the rows `firstRow` on, (h, dy) in that order; side 1, or 5 for the shifted forms of the 5x5 convolution.
// Per four channels.
template <class T>
struct WidenColumns {
  const T* z;
  float* wide;
  SparseRows columns;  // W x (w side)
  int64_t height, width, side, channels;
  int64_t rows, firstRow, outWidth;  // R, W

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, x = i / groups % outWidth,
                  row = i / groups / outWidth;  // row: (image, h, dy)
    const int64_t image = row / (height * side), inside = row % (height * side);
    const T* from = z + (row / side * width * side * side + inside % side) * channels + k;
    Four sum = {};
    for (int32_t t = columns.begin[x]; t < columns.begin[x + 1]; ++t)
      addScaled(sum, columns.value[t], load(from + columns.index[t] * side * channels));
    store(wide + ((image * rows + firstRow + inside) * outWidth + x) * channels + k, sum);
  }
};

// The rows of upscale-and-pool: what `wide` (n x R x W x K) gives at (image, y, x), channels k to k + 3.
SSN_KERNEL Four upscaled(const float* wide, const SparseRows& map, int64_t rows, int64_t outWidth, int64_t channels,
                         int64_t image, int64_t y, int64_t x, int64_t k) {
  const float* from = wide + (image * rows * outWidth + x) * channels + k;
  Four sum = {};
  for (int32_t t = map.begin[y]; t < map.begin[y + 1]; ++t)
    addScaled(sum, map.value[t], load(from + map.index[t] * outWidth * channels));
  return sum;
}

// Rows of upscale-and-pool, folded batch norm, LeakyReLU and the 1x1 convolution to one channel: a map logit per
// position.
struct MapLogits {
  static constexpr int kLanes = 128;
  using Partial = float;

  const float* wide;
  SparseRows map;  // H x R
  int64_t rows, height, width, channels;
  const float *scale, *shift, *weight;
  float slope;
  float* out;  // n x H x W

  SSN_KERNEL float partial(int64_t position, int lane) const {
    const int64_t x = position % width, y = position / width % height, image = position / width / height;
    float sum = 0;
    for (int64_t k = 4 * lane; k < channels; k += 4 * kLanes)
      sum += leakyDot(upscaled(wide, map, rows, width, channels, image, y, x, k), load(scale + k), load(shift + k),
                      load(weight + k), slope);
    return sum;
  }
  static SSN_KERNEL float combine(float a, float b) { return a + b; }
  SSN_KERNEL void store(int64_t position, float sum) const { out[position] = sum; }
};

// Rows of upscale-and-pool of the shifted forms, the bias, the map's channel of the 5x5 convolution, ReLU; then sum and
// maximum over `length` neighbouring positions of a line. Per segment and four channels.
struct ClassificationSegments {
  const float* wide;
  SparseRows shifted;  // H x R
  int64_t rows, height, width, channels;
  const float* bias;       // H x W x K
  const float* mapLogits;  // n x H x W
  const float* mapKernel;  // (dx, dy) x K
  int64_t length;
  float *sum, *maximum;  // n x H x segments x K

  static SSN_KERNEL int64_t segments(int64_t width, int64_t length) { return (width + length - 1) / length; }

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, line = i / groups,
                  across = segments(width, length);  // line: (image, y, segment)
    const int64_t segment = line % across, y = line / across % height, image = line / across / height;
    const int64_t end = (segment + 1) * length < width ? (segment + 1) * length : width;
    Four total = {}, best = {};
    for (int64_t x = segment * length; x < end; ++x) {
      Four value = upscaled(wide, shifted, rows, width, channels, image, y, x, k);
      addScaled(value, 1.0f, load(bias + (y * width + x) * channels + k));
      for (int64_t dx = -2; dx <= 2; ++dx)
        for (int64_t dy = -2; dy <= 2; ++dy) {
          if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
          addScaled(value, mapLogits[(image * height + y + dy) * width + x + dx],
                    load(mapKernel + ((dx + 2) * 5 + dy + 2) * channels + k));
        }
      for (int j = 0; j < 4; ++j) {
        const float v = value.v[j] < 0 ? 0 : value.v[j];
        total.v[j] += v;
        best.v[j] = v > best.v[j] ? v : best.v[j];
      }
    }
    store(sum + line * channels + k, total);
    store(maximum + line * channels + k, best);
  }
};

// Sums and maxima of `length` neighbouring segments, in place of the first of them: the pooling's second of three
// stages, each with enough work for all of a GPU. Per group of segments and four channels.
struct PoolSegments {
  float *sum, *maximum;  // n x segments x K
  int64_t segments, length, channels;

  static SSN_KERNEL int64_t groups(int64_t segments, int64_t length) { return (segments + length - 1) / length; }

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t fours = channels / 4, k = i % fours * 4, group = i / fours, across = groups(segments, length);
    const int64_t first = group / across * segments + group % across * length,
                  left = segments - group % across * length, end = first + (length < left ? length : left);
    Four total = {}, best = {};
    for (int64_t s = first; s < end; ++s) {
      addScaled(total, 1.0f, load(sum + s * channels + k));
      const Four m = load(maximum + s * channels + k);
      for (int j = 0; j < 4; ++j) best.v[j] = m.v[j] > best.v[j] ? m.v[j] : best.v[j];
    }
    store(sum + first * channels + k, total);
    store(maximum + first * channels + k, best);
  }
};

// Pooling and the last linear layer: maximum and mean of every channel, maximum and mean of the map. Per image.
struct Score {
  static constexpr int kLanes = 128;
  struct Partial {
    float channels, mapMaximum, mapSum;
  };

  const float *sum, *maximum;  // n x segments x K, of which every `stride`th counts
  const float* mapLogits;      // n x positions
  int64_t segments, stride, positions, channels;
  const float *weight, *bias;  // 2 K + 2: maxima, means, the map's; 1
  float* out;

  SSN_KERNEL Partial partial(int64_t image, int lane) const {
    Partial result{0, mapLogits[image * positions], 0};
    for (int64_t k = lane; k < channels; k += kLanes) {
      float best = 0, total = 0;
      for (int64_t s = image * segments; s < (image + 1) * segments; s += stride) {
        const float m = maximum[s * channels + k];
        best = m > best ? m : best;
        total += sum[s * channels + k];
      }
      result.channels += weight[k] * best + weight[channels + k] * (total / static_cast<float>(positions));
    }
    for (int64_t p = lane; p < positions; p += kLanes) {
      const float m = mapLogits[image * positions + p];
      result.mapMaximum = m > result.mapMaximum ? m : result.mapMaximum;
      result.mapSum += m;
    }
    return result;
  }
  static SSN_KERNEL Partial combine(const Partial& a, const Partial& b) {
    return {a.channels + b.channels, a.mapMaximum > b.mapMaximum ? a.mapMaximum : b.mapMaximum, a.mapSum + b.mapSum};
  }
  SSN_KERNEL void store(int64_t image, const Partial& p) const {
    out[image] = bias[0] + p.channels + weight[2 * channels] * p.mapMaximum +
                 weight[2 * channels + 1] * (p.mapSum / static_cast<float>(positions));
  }
};

// The anomaly map: upscaling and blur of the map logits, R M C^T. Per pixel.
struct AnomalyMap {
  const float* mapLogits;  // n x h x w
  SparseRows rows, columns;
  int64_t height, width, outHeight, outWidth;
  float* out;  // n x H x W

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t x = i % outWidth, y = i / outWidth % outHeight, image = i / outWidth / outHeight;
    float sum = 0;
    for (int32_t t = rows.begin[y]; t < rows.begin[y + 1]; ++t) {
      const float* from = mapLogits + (image * height + rows.index[t]) * width;
      float line = 0;
      for (int32_t s = columns.begin[x]; s < columns.begin[x + 1]; ++s)
        line += columns.value[s] * from[columns.index[s]];
      sum += rows.value[t] * line;
    }
    out[i] = sum;
  }
};

}  // namespace ssn::kernels
