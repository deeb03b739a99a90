// The kernels of a training step: batch norms over rows (positions) with what follows them, forward and backward, and
// the latent noise's share of the 5x5 convolution. Rows are float32, K channels each, contiguous.
#pragma once

#include <cmath>

#include "kernels/element.h"

namespace ssn::kernels {

// Sums over rows, for each channel: first over chunks of rows, then over the chunks in order, in double. Term gives
// kSums addends for a row and a channel.
constexpr int64_t kChunk = 256;

SSN_KERNEL int64_t chunks(int64_t rows) { return (rows + kChunk - 1) / kChunk; }

template <class Term>
struct ColumnPartials {  // per chunk and channel
  Term term;
  int64_t rows, channels;
  float* partial;  // chunks x kSums x K

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t k = i % channels, chunk = i / channels,
                  end = (chunk + 1) * kChunk < rows ? (chunk + 1) * kChunk : rows;
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
    for (int64_t k = 4 * lane; k < channels; k += 4 * kLanes)
      sum += leakyDot(load(x + row * channels + k), load(scale + k), load(shift + k), load(weight + k), slope);
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
    const float n = norm.normalised(x[row * channels + k], k), a = norm.scaled(n, k), s = a > 0 ? 1.0f : slope,
                g = gradient[row] * out[k] * s;
    sums[0] += g;
    sums[1] += g * n;
    sums[2] += gradient[row] * a * s;
  }
};

// x becomes its gradient. Per row and four channels. meanBias, meanWeight: the batch's gradients of the norm over its
// positions.
struct LeakyInputGradient {
  float* x;
  Norm norm;
  const float *out, *gradient, *multiplicity, *meanBias, *meanWeight;
  float slope;
  int64_t channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, first = i % groups * 4, row = i / groups;
    const float share = multiplicity[row], dy = gradient[row];
    Four value = load(x + 4 * i);
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t k = first + j;
      const float n = norm.normalised(value.v[j], k), g = dy * out[k] * (norm.scaled(n, k) > 0 ? 1.0f : slope);
      value.v[j] = norm.weight[k] * norm.inverseStd[k] * (g - share * (meanBias[k] + n * meanWeight[k]));
    }
    store(x + 4 * i, value);
  }
};

// Batch norm, ReLU, then sum, maximum and its row over each sample's positions: over pieces of them, then over the
// pieces.
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
    int64_t position = 0;
    for (int64_t p = sample * pieces; p < (sample + 1) * pieces; ++p) {
      total += sum[p * channels + k];
      if (maximum[p * channels + k] > most) most = maximum[p * channels + k], position = argmax[p * channels + k];
    }
    mean[i] = total / static_cast<float>(plane);
    best[i] = most;
    at[i] = position;
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
    x[i] = gradient.norm.weight[k] * gradient.norm.inverseStd[k] *
           (gradient.at(row, k, n) - meanBias[k] - n * meanWeight[k]);
  }
};

// --- active positions: where a sample has noise (native/training/active_positions.h) ---

// From the noise mask and its running sums: the active position's number for each cell, -1 where there is none, and its
// cell for each number. Numbers from `capacity` on do not fit. Per cell.
struct NumberActive {
  const float* mask;
  const int32_t* running;  // inclusive
  int64_t capacity;
  int32_t* active;
  int64_t* cells;  // -1 before

  SSN_KERNEL void operator()(int64_t i) const {
    const int32_t number = mask[i] != 0 && running[i] <= capacity ? running[i] - 1 : -1;
    active[i] = number;
    if (number >= 0) cells[number] = i;
  }
};

// How many cells of the duplicated batch a row stands for: first `shared` rows that both copies have, then a row for
// each active position. Per row.
struct Multiplicity {
  const int32_t* active;
  const int64_t* cells;
  int64_t shared;
  float* out;

  SSN_KERNEL void operator()(int64_t row) const {
    out[row] = row < shared ? static_cast<float>((active[row] < 0) + (active[shared + row] < 0))
                            : (cells[row - shared] < 0 ? 0.0f : 1.0f);
  }
};

// noisy[p] += base[cell of p]. Per active position and four channels.
struct AddShared {
  float* noisy;
  const float* base;
  const int64_t* cells;
  int64_t shared, channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, p = i / groups;
    if (cells[p] < 0) return;
    addTo(noisy + p * channels + k, load(base + cells[p] % shared * channels + k));
  }
};

// The transpose: base[r] += noisy of r in either copy. Per row of base and four channels.
struct AddToShared {
  float* base;
  const float* noisy;
  const int32_t* active;
  int64_t shared, channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, row = i / groups;
    const int32_t first = active[row], second = active[shared + row];
    if (first < 0 && second < 0) return;
    Four sum = load(base + row * channels + k);
    if (first >= 0) addScaled(sum, 1.0f, load(noisy + first * channels + k));
    if (second >= 0) addScaled(sum, 1.0f, load(noisy + second * channels + k));
    store(base + row * channels + k, sum);
  }
};

// A value for each cell from a value for each row. Per cell.
struct RowsToCells {
  const float* rows;
  const int32_t* active;
  int64_t shared;
  float* out;

  SSN_KERNEL void operator()(int64_t i) const { out[i] = active[i] < 0 ? rows[i % shared] : rows[shared + active[i]]; }
};

// The transpose. Per row.
struct CellsToRows {
  const float* cells;  // values
  const int32_t* active;
  const int64_t* cell;
  int64_t shared;
  float* out;

  SSN_KERNEL void operator()(int64_t row) const {
    if (row >= shared) {
      out[row] = cell[row - shared] < 0 ? 0.0f : cells[cell[row - shared]];
    } else {
      out[row] = (active[row] < 0 ? cells[row] : 0.0f) + (active[shared + row] < 0 ? cells[shared + row] : 0.0f);
    }
  }
};

// Calls visit(p, tap) for the active positions p around a cell, at (y + dy - 2, x + dx - 2) for tap (dx, dy).
template <class Visit>
SSN_KERNEL void aroundCell(const int32_t* active, int64_t cell, int64_t height, int64_t width, const Visit& visit) {
  const int64_t x = cell % width, y = cell / width % height, sample = cell / width / height;
  for (int64_t dx = 0; dx < 5; ++dx)
    for (int64_t dy = 0; dy < 5; ++dy) {
      const int64_t fromY = y + dy - 2, fromX = x + dx - 2;
      if (fromY < 0 || fromY >= height || fromX < 0 || fromX >= width) continue;
      const int64_t p = active[(sample * height + fromY) * width + fromX];
      if (p >= 0) visit(p, dx * 5 + dy);
    }
}

// cells[y, x] += sum over taps of products[p, dx, dy] with p the active position at (y + dy - 2, x + dx - 2), for the
// active positions from .. to - 1, which `products` has. Per cell and four channels: a cell gathers its sum, so no two
// write to one place.
struct AddNoiseTaps {
  float* planes;          // samples x H x W x K
  const float* products;  // (to - from) x (dx, dy) x K
  const int32_t* active;
  const int32_t* running;  // of NumberActive
  int64_t from, to, height, width, channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, cell = i / groups;
    const int64_t plane = height * width, sample = cell / plane;
    // Most pieces have nothing of a sample.
    if (running[(sample + 1) * plane - 1] <= from || (sample > 0 && running[sample * plane - 1] >= to)) return;
    Four sum = {};
    bool any = false;
    aroundCell(active, cell, height, width, [&](int64_t p, int64_t tap) {
      if (p < from || p >= to) return;
      addScaled(sum, 1.0f, load(products + ((p - from) * 25 + tap) * channels + k));
      any = true;
    });
    if (any) addTo(planes + cell * channels + k, sum);
  }
};

// The transpose: products[p, dx, dy] = planes[y - dy + 2, x - dx + 2] for the active position (y, x), 0 outside and
// where there is no position. Per active position, tap and four channels.
struct GatherNoiseTaps {
  const float* planes;
  const int64_t* cells;  // of the active positions that `products` has
  int64_t height, width, channels;
  float* products;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, tap = i / groups % 25, p = i / groups / 25;
    const int64_t cell = cells[p], toY = cell / width % height - tap % 5 + 2, toX = cell % width - tap / 5 + 2,
                  sample = cell / width / height;
    const bool inside = cell >= 0 && toY >= 0 && toY < height && toX >= 0 && toX < width;
    store(products + (p * 25 + tap) * channels + k,
          inside ? load(planes + ((sample * height + toY) * width + toX) * channels + k) : Four{});
  }
};

// The noise where positions share vectors: position p takes vector index[p] times weight[p]
// (native/anomalies/latent_noise.h). products: of the vectors, V x K or V x (dx, dy) x K.

// noisy[p] = weight[p] products[index[p]] + base[cell of p]. Per active position and four channels.
struct AddChosen {
  float* noisy;
  const float *base, *products;
  const int32_t* index;
  const float* weight;
  const int64_t* cells;
  int64_t shared, channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, p = i / groups;
    Four sum = {};
    if (cells[p] >= 0) {
      sum = load(base + cells[p] % shared * channels + k);
      addScaled(sum, weight[p], load(products + index[p] * channels + k));
    }
    store(noisy + p * channels + k, sum);
  }
};

// Its transpose for the products: of each vector, the sum over the positions that take it. `order` has the positions
// vector by vector, from begin[v] to begin[v + 1]. Per vector and four channels.
struct SumChosen {
  const float *noisy, *weight;
  const int64_t *order, *begin;
  int64_t channels;
  float* out;  // V x K

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, v = i / groups;
    Four sum = {};
    for (int64_t at = begin[v]; at < begin[v + 1]; ++at)
      addScaled(sum, weight[order[at]], load(noisy + order[at] * channels + k));
    store(out + v * channels + k, sum);
  }
};

// cells[y, x] += sum over taps of weight[p] products[index[p], dx, dy] with p the active position at (y + dy - 2, x +
// dx - 2). Per cell and four channels.
struct AddChosenTaps {
  float* planes;  // samples x H x W x K
  const float* products;
  const int32_t* index;
  const float* weight;
  const int32_t* active;
  int64_t height, width, channels;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, cell = i / groups;
    Four sum = {};
    bool any = false;
    aroundCell(active, cell, height, width, [&](int64_t p, int64_t tap) {
      addScaled(sum, weight[p], load(products + (index[p] * 25 + tap) * channels + k));
      any = true;
    });
    if (any) addTo(planes + cell * channels + k, sum);
  }
};

// Its transpose. Per vector, tap and four channels.
struct SumChosenTaps {
  const float *planes, *weight;
  const int64_t *cells, *order, *begin;
  int64_t height, width, channels;
  float* out;  // V x (dx, dy) x K

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t groups = channels / 4, k = i % groups * 4, tap = i / groups % 25, v = i / groups / 25;
    Four sum = {};
    for (int64_t at = begin[v]; at < begin[v + 1]; ++at) {
      const int64_t p = order[at], cell = cells[p], toY = cell / width % height - tap % 5 + 2,
                    toX = cell % width - tap / 5 + 2, sample = cell / width / height;
      if (toY < 0 || toY >= height || toX < 0 || toX >= width) continue;
      addScaled(sum, weight[p], load(planes + ((sample * height + toY) * width + toX) * channels + k));
    }
    store(out + (v * 25 + tap) * channels + k, sum);
  }
};

// --- the map's channel of the 5x5 convolution ---

// The 25 neighbours of each cell (dy, dx), 0 outside. Per cell and neighbour.
struct MapPatches {
  const float* map;  // samples x H x W
  int64_t height, width;
  float* out;

  SSN_KERNEL void operator()(int64_t i) const {
    const int64_t tap = i % 25, cell = i / 25, x = cell % width + tap % 5 - 2, y = cell / width % height + tap / 5 - 2;
    out[i] = y >= 0 && y < height && x >= 0 && x < width ? map[cell + (tap / 5 - 2) * width + tap % 5 - 2] : 0.0f;
  }
};

// The transpose. Per cell.
struct MapPatchesAdjoint {
  const float* patches;
  int64_t height, width;
  float* out;

  SSN_KERNEL void operator()(int64_t cell) const {
    const int64_t x = cell % width, y = cell / width % height;
    float sum = 0;
    for (int64_t dy = -2; dy <= 2; ++dy)
      for (int64_t dx = -2; dx <= 2; ++dx) {
        // A cell at (y - dy, x - dx) has this one as its neighbour (dy, dx).
        if (y - dy < 0 || y - dy >= height || x - dx < 0 || x - dx >= width) continue;
        sum += patches[(cell - dy * width - dx) * 25 + (dy + 2) * 5 + dx + 2];
      }
    out[cell] = sum;
  }
};

// --- optimiser ---

// native/training/adamw.h, for the numbers of a step in the device's memory. Per parameter.
struct AdamW {
  float* parameter;
  const float* gradient;
  float *mean, *variance;
  const double* rates;  // of AdamWRates
  const double* norm;   // of all gradients; read if clip > 0
  double clip;

  SSN_KERNEL void operator()(int64_t i) const {
    float g = gradient[i];
    if (clip > 0) {
      const double scale = clip / (*norm + 1e-6);
      if (scale < 1) g *= static_cast<float>(scale);
    }
    const float m = mean[i] + (g - mean[i]) * 0.1f, v = variance[i] * 0.999f + g * g * 0.001f;
    mean[i] = m;
    variance[i] = v;
    parameter[i] = parameter[i] * static_cast<float>(rates[0]) -
                   static_cast<float>(rates[1]) * m / (std::sqrt(v) / static_cast<float>(rates[2]) + 1e-8f);
  }
};

}  // namespace ssn::kernels
