// The kernels of a training step: batch norms over rows (positions) with what follows them, forward and backward, and the
// latent noise's share of the 5x5 convolution. Rows are float32, K channels each, contiguous.
#pragma once

#include "kernels/element.h"

namespace ssn::kernels {

// Sums over rows, for each channel: first over chunks of rows, then over the chunks in order, in double. Term gives kSums
// addends for a row and a channel.
constexpr int64_t kChunk = 256;

SSN_KERNEL int64_t chunks(int64_t rows) { return (rows + kChunk - 1) / kChunk; }

template <class Term>
struct ColumnPartials {  // per chunk and channel
  Term term;
  int64_t rows, channels;
  float* partial;  // chunks x kSums x K

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t k = i % channels, chunk = i / channels, end = (chunk + 1) * kChunk < rows ? (chunk + 1) * kChunk : rows;
    float sums[Term::kSums] = {};
    for (int64_t row = chunk * kChunk; row < end; ++row) term.add(row, k, sums);
    for (int s = 0; s < Term::kSums; ++s) partial[(chunk * Term::kSums + s) * channels + k] = sums[s];
  }
};

struct ColumnTotals {  // per sum and channel
  const float* partial;
  int64_t chunks, columns;  // columns: kSums K
  float* out;

  SSN_KERNEL void operator()(int64_t i) const {
    double sum = 0;
    for (int64_t c = 0; c < chunks; ++c) sum += partial[c * columns + i];
    out[i] = static_cast<float>(sum);
  }
};

struct WeightedSum {
  static constexpr int kSums = 1;
  const float *x, *multiplicity;  // multiplicity null: 1
  int64_t channels;

  SSN_KERNEL void add(int64_t row, int64_t k, float* sums) const {
    const float m = multiplicity == nullptr ? 1.0f : multiplicity[row];
    if (m != 0) sums[0] += m * x[row * channels + k];
  }
};

struct WeightedDeviation {
  static constexpr int kSums = 1;
  const float *x, *multiplicity, *mean;
  int64_t channels;

  SSN_KERNEL void add(int64_t row, int64_t k, float* sums) const {
    const float m = multiplicity == nullptr ? 1.0f : multiplicity[row];
    if (m == 0) return;
    const float d = x[row * channels + k] - mean[k];
    sums[0] += m * d * d;
  }
};

// A batch norm with batch statistics.
struct Norm {
  const float *mean, *inverseStd, *weight, *bias;

  SSN_KERNEL float normalised(float x, int64_t k) const { return (x - mean[k]) * inverseStd[k]; }
  SSN_KERNEL float scaled(float normalised, int64_t k) const { return weight[k] * normalised + bias[k]; }
};

// leaky(scale x + shift) . w for each row.
struct LeakyLogits {
  static constexpr int kLanes = 128;
  using Partial = float;

  const float* x;
  int64_t channels;
  const float *scale, *shift, *weight;
  float slope;
  float* out;

  SSN_KERNEL float partial(int64_t row, int lane) const {
    float sum = 0;
    for (int64_t k = 4 * lane; k < channels; k += 4 * kLanes) {
      const Four value = load(x + row * channels + k), s = load(scale + k), b = load(shift + k), w = load(weight + k);
      for (int i = 0; i < 4; ++i) {
        const float a = value.v[i] * s.v[i] + b.v[i];
        sum += (a > 0 ? a : a * slope) * w.v[i];
      }
    }
    return sum;
  }
  static SSN_KERNEL float combine(float a, float b) { return a + b; }
  SSN_KERNEL void store(int64_t row, float sum) const { out[row] = sum; }
};

// Its gradients: of the norm's bias and weight and of w.
struct LeakyGradients {
  static constexpr int kSums = 3;
  const float* x;
  Norm norm;
  const float *out, *gradient;  // w; of the logits, per row
  float slope;
  int64_t channels;

  SSN_KERNEL void add(int64_t row, int64_t k, float* sums) const {
    if (gradient[row] == 0) return;
    const float n = norm.normalised(x[row * channels + k], k), a = norm.scaled(n, k), s = a > 0 ? 1.0f : slope, g = gradient[row] * out[k] * s;
    sums[0] += g;
    sums[1] += g * n;
    sums[2] += gradient[row] * a * s;
  }
};

// x becomes its gradient. Per row and channel. meanBias, meanWeight: the batch's gradients of the norm over its positions.
struct LeakyInputGradient {
  float* x;
  Norm norm;
  const float *out, *gradient, *multiplicity, *meanBias, *meanWeight;
  float slope;
  int64_t channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t k = i % channels, row = i / channels;
    const float n = norm.normalised(x[i], k), g = gradient[row] * out[k] * (norm.scaled(n, k) > 0 ? 1.0f : slope);
    x[i] = norm.weight[k] * norm.inverseStd[k] * (g - multiplicity[row] * (meanBias[k] + n * meanWeight[k]));
  }
};

// Batch norm, ReLU, then sum, maximum and its row over each sample's positions: over pieces of them, then over the pieces.
struct PoolPieces {  // per sample, piece and channel
  const float *x, *scale, *shift;
  int64_t plane, channels;
  float *sum, *maximum;  // samples x pieces x K
  int64_t* argmax;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t k = i % channels, piece = i / channels % chunks(plane), sample = i / channels / chunks(plane);
    const int64_t end = (piece + 1) * kChunk < plane ? (piece + 1) * kChunk : plane;
    float total = 0, best = 0;
    int64_t at = piece * kChunk;
    for (int64_t row = piece * kChunk; row < end; ++row) {
      const float a = x[(sample * plane + row) * channels + k] * scale[k] + shift[k], y = a < 0 ? 0 : a;
      total += y;
      if (y > best) best = y, at = row;
    }
    sum[i] = total;
    maximum[i] = best;
    argmax[i] = at;
  }
};

struct PoolTotals {  // per sample and channel
  const float *sum, *maximum;
  const int64_t* argmax;
  int64_t pieces, plane, channels;
  float *mean, *best;
  int64_t* at;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t k = i % channels, sample = i / channels;
    float total = 0, most = 0;
    int64_t where = 0;
    for (int64_t p = sample * pieces; p < (sample + 1) * pieces; ++p) {
      total += sum[p * channels + k];
      if (maximum[p * channels + k] > most) most = maximum[p * channels + k], where = argmax[p * channels + k];
    }
    mean[i] = total / static_cast<float>(plane);
    best[i] = most;
    at[i] = where;
  }
};

// Behind the ReLU: the mean's share everywhere, the maximum's gradient at its row. All per sample and channel.
struct PoolGradient {
  const float* x;
  Norm norm;
  const float *meanShare, *maximum;
  const int64_t* argmax;
  int64_t plane, channels;

  SSN_KERNEL float at(int64_t row, int64_t k, float normalised) const {
    const int64_t cell = row / plane * channels + k;
    if (!(norm.scaled(normalised, k) > 0)) return 0;
    return meanShare[cell] + (argmax[cell] == row % plane ? maximum[cell] : 0.0f);
  }
};

struct PoolNormGradients {
  static constexpr int kSums = 2;
  PoolGradient gradient;

  SSN_KERNEL void add(int64_t row, int64_t k, float* sums) const {
    const float n = gradient.norm.normalised(gradient.x[row * gradient.channels + k], k), g = gradient.at(row, k, n);
    sums[0] += g;
    sums[1] += g * n;
  }
};

struct PoolInputGradient {  // per row and channel; x becomes its gradient
  float* x;
  PoolGradient gradient;
  const float *meanBias, *meanWeight;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t k = i % gradient.channels, row = i / gradient.channels;
    const float n = gradient.norm.normalised(x[i], k);
    x[i] = gradient.norm.weight[k] * gradient.norm.inverseStd[k] * (gradient.at(row, k, n) - meanBias[k] - n * meanWeight[k]);
  }
};

// rows[index[i]] += added[i]; no index twice. Per entry and four channels.
struct AddRows {
  float* rows;
  const float* added;
  const int64_t* index;
  int64_t channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, entry = i / groups;
    float* to = rows + index[entry] * channels + k;
    Four sum = load(to);
    addScaled(sum, 1.0f, load(added + entry * channels + k));
    store(to, sum);
  }
};

// plane[y, x] += sum over taps of products[p, dx, dy] with p the active position at (y + dy - 2, x + dx - 2). Per sample,
// position and four channels: a position gathers its sum, so no two write to one place.
struct AddNoiseTaps {
  float* plane;            // samples x H x W x K
  const float* products;   // P x (dx, dy) x K
  const int32_t* active;   // samples x H x W: index into products, negative where there is no noise
  int64_t height, width, channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, cell = i / groups;
    const int64_t x = cell % width, y = cell / width % height, sample = cell / width / height;
    Four sum = load(plane + cell * channels + k);
    for (int64_t dx = 0; dx < 5; ++dx)
      for (int64_t dy = 0; dy < 5; ++dy) {
        const int64_t fromY = y + dy - 2, fromX = x + dx - 2;
        if (fromY < 0 || fromY >= height || fromX < 0 || fromX >= width) continue;
        const int64_t p = active[(sample * height + fromY) * width + fromX];
        if (p >= 0) addScaled(sum, 1.0f, load(products + (p * 25 + dx * 5 + dy) * channels + k));
      }
    store(plane + cell * channels + k, sum);
  }
};

// The transpose: products[p, dx, dy] = plane[y - dy + 2, x - dx + 2] for the active position (y, x), 0 outside. Per active
// position, tap and four channels.
struct GatherNoiseTaps {
  const float* plane;
  const int64_t* cells;  // P: index into samples x H x W
  int64_t height, width, channels;
  float* products;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, tap = i / groups % 25, p = i / groups / 25;
    const int64_t cell = cells[p], toY = cell / width % height - tap % 5 + 2, toX = cell % width - tap / 5 + 2, sample = cell / width / height;
    const bool inside = toY >= 0 && toY < height && toX >= 0 && toX < width;
    store(products + (p * 25 + tap) * channels + k, inside ? load(plane + ((sample * height + toY) * width + toX) * channels + k) : Four{});
  }
};

}  // namespace ssn::kernels
